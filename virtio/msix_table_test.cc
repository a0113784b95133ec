// SPDX-License-Identifier: Apache-2.0
#include "virtio/msix_table.h"

#include <gtest/gtest.h>

#include <array>
#include <cstdint>
#include <deque>
#include <random>
#include <vector>

#include "virtio/register_access.h"
#include "virtio/testing/fake_transport_parts.h"

namespace tapir::virtio {
namespace {

using testing::FakeInterrupt;

class MsixTableTest : public ::testing::Test {
 protected:
  static constexpr std::size_t kVectors = 3;

  void write(std::uint64_t offset, std::size_t bytes, std::uint64_t value) {
    std::array<std::byte, 8> from{};
    store_little_endian(value, from);
    table_.write_table(offset, std::span<const std::byte>(from).first(bytes));
  }
  std::uint64_t read(std::uint64_t offset, std::size_t bytes) {
    std::array<std::byte, 8> into{};
    table_.read_table(offset, std::span(into).first(bytes));
    return load_little_endian(into);
  }
  std::uint64_t pending() {
    std::array<std::byte, 8> into{};
    table_.read_pba(0, into);
    return load_little_endian(into);
  }
  /// As a driver does: message, then unmask.
  void program(std::size_t vector, std::uint64_t address, std::uint32_t data) {
    write(vector * 16, 4, address & 0xFFFF'FFFFU);
    write(vector * 16 + 4, 4, address >> 32U);
    write(vector * 16 + 8, 4, data);
    write(vector * 16 + 12, 4, 0);
  }

  std::deque<FakeInterrupt> interrupts_{kVectors};
  MsixTable table_{{&interrupts_[0], &interrupts_[1], &interrupts_[2]}};
};

TEST_F(MsixTableTest, EveryVectorIsMaskedAtPowerOnAndNothingPends) {
  for (std::size_t vector = 0; vector < kVectors; ++vector) {
    EXPECT_EQ(read(vector * 16, 8), 0U);
    EXPECT_EQ(read(vector * 16 + 8, 8), std::uint64_t{1} << 32U);
  }
  EXPECT_EQ(pending(), 0U);
}

TEST_F(MsixTableTest, TellsTheMessageOnlyWhenUnmaskedAndChanged) {
  table_.set_control(true, false, true);
  write(16, 4, 0xFEE0'1000);
  write(24, 4, 0x41);
  EXPECT_TRUE(interrupts_[1].messages.empty());
  write(28, 4, 0);
  ASSERT_EQ(interrupts_[1].messages.size(), 1U);
  EXPECT_EQ(interrupts_[1].messages[0], (MsiMessage{0xFEE0'1000, 0x41}));
  write(28, 4, 1);
  write(28, 4, 0);  // the same message again
  EXPECT_EQ(interrupts_[1].messages.size(), 1U);
  write(28, 4, 1);
  write(24, 4, 0x42);
  write(28, 4, 0);
  ASSERT_EQ(interrupts_[1].messages.size(), 2U);
  EXPECT_EQ(interrupts_[1].messages[1], (MsiMessage{0xFEE0'1000, 0x42}));
  EXPECT_EQ(interrupts_[1].triggers.load(), 0);
}

TEST_F(MsixTableTest, SendsAtOnceWhenUnmasked) {
  table_.set_control(true, false, true);
  program(0, 0xFEE0'0000, 0x30);
  table_.notify(0);
  table_.notify(0);
  EXPECT_EQ(interrupts_[0].triggers.load(), 2);
  EXPECT_EQ(pending(), 0U);
}

TEST_F(MsixTableTest, MaskedVectorPendsAndIsSentOnceWhenUnmasked) {
  table_.set_control(true, false, true);
  program(2, 0xFEE0'0000, 0x30);
  write(2 * 16 + 12, 4, 1);
  table_.notify(2);
  table_.notify(2);
  EXPECT_EQ(pending(), 0x4U);
  EXPECT_EQ(interrupts_[2].triggers.load(), 0);
  write(2 * 16 + 12, 4, 0);
  EXPECT_EQ(pending(), 0U);
  EXPECT_EQ(interrupts_[2].triggers.load(), 1);
}

TEST_F(MsixTableTest, FunctionMaskHoldsEveryVectorBack) {
  table_.set_control(true, true, true);
  program(0, 0xFEE0'0000, 0x30);
  program(1, 0xFEE0'0000, 0x31);
  table_.notify(0);
  table_.notify(1);
  EXPECT_EQ(pending(), 0x3U);
  table_.set_control(true, false, true);
  EXPECT_EQ(pending(), 0U);
  EXPECT_EQ(interrupts_[0].triggers.load(), 1);
  EXPECT_EQ(interrupts_[1].triggers.load(), 1);
  EXPECT_EQ(interrupts_[0].messages.size(), 1U);
}

TEST_F(MsixTableTest, MessagesWaitForBusMastering) {
  table_.set_control(true, false, false);
  program(0, 0xFEE0'0000, 0x30);
  table_.notify(0);
  EXPECT_EQ(interrupts_[0].triggers.load(), 0);
  table_.set_control(true, false, true);
  EXPECT_EQ(interrupts_[0].triggers.load(), 1);
}

TEST_F(MsixTableTest, SendsNothingWhileDisabled) {
  program(0, 0xFEE0'0000, 0x30);
  table_.notify(0);
  EXPECT_EQ(pending(), 0U);
  table_.set_control(true, false, true);
  EXPECT_EQ(interrupts_[0].triggers.load(), 0);
}

// TR-06
TEST_F(MsixTableTest, VectorsBeyondTheTableAreIgnored) {
  table_.set_control(true, false, true);
  for (std::size_t vector = 0; vector < kVectors; ++vector) {
    program(vector, 0xFEE0'0000, 0x30);
  }
  for (unsigned vector = kVectors; vector <= 0xFFFF; ++vector) {
    table_.notify(static_cast<std::uint16_t>(vector));
  }
  for (const FakeInterrupt& interrupt : interrupts_) {
    EXPECT_EQ(interrupt.triggers.load(), 0);
  }
  EXPECT_EQ(pending(), 0U);
}

// TR-06: every width at every byte, against a plain array with the reserved bits cut off
TEST_F(MsixTableTest, AccessesOfEveryWidthAtEveryByteActLikeMemory) {
  std::mt19937 random(1);
  std::array<std::byte, kVectors * 16 + 16> model{};
  for (std::size_t vector = 0; vector < kVectors; ++vector) {
    model[vector * 16 + 12] = std::byte{1};
  }
  table_.set_control(true, false, true);
  for (int round = 0; round < 8; ++round) {
    for (std::uint64_t offset = 0; offset < model.size(); ++offset) {
      for (const std::size_t bytes : {1U, 2U, 4U, 8U}) {
        const std::uint64_t value = (std::uint64_t{random()} << 32U) | random();
        write(offset, bytes, value);
        const bool inside = offset + bytes <= kVectors * 16;
        for (std::size_t i = 0; inside && i < bytes; ++i) {
          const std::uint64_t at = (offset + i) % 16;
          const unsigned kept = at == 0 ? 0xFCU : at < 12 ? 0xFFU : at == 12 ? 0x01U : 0U;
          model[offset + i] = static_cast<std::byte>((value >> (8 * i)) & kept);
        }
        for (std::uint64_t at = 0; at + 8 <= model.size(); at += 8) {
          ASSERT_EQ(read(at, 8), load_little_endian(std::span<const std::byte>(model).subspan(at, 8)))
              << "after " << bytes << " bytes at " << offset;
        }
        ASSERT_EQ(read(offset, bytes), load_little_endian(std::span<const std::byte>(model).subspan(
                                           offset, std::min<std::size_t>(bytes, model.size() - offset))));
      }
    }
  }
}

// TR-06
TEST_F(MsixTableTest, PendingBitsAreReadInEveryWidthAtEveryByte) {
  table_.set_control(true, true, true);
  table_.notify(0);
  table_.notify(2);
  for (std::uint64_t offset = 0; offset < 16; ++offset) {
    for (const std::size_t bytes : {1U, 2U, 4U, 8U}) {
      std::array<std::byte, 8> into{};
      table_.read_pba(offset, std::span(into).first(bytes));
      EXPECT_EQ(load_little_endian(into), offset == 0 ? 0x5U : 0U) << offset << " " << bytes;
    }
  }
}

TEST_F(MsixTableTest, MessageThatCannotBeRoutedIsTriedAgainAtTheNextInterrupt) {
  table_.set_control(true, false, true);
  interrupts_[0].refuse_message = true;
  program(0, 0xFEE0'0000, 0x30);
  table_.notify(0);
  EXPECT_EQ(interrupts_[0].triggers.load(), 0);
  interrupts_[0].refuse_message = false;
  table_.notify(0);
  EXPECT_EQ(interrupts_[0].messages.size(), 1U);
  EXPECT_EQ(interrupts_[0].triggers.load(), 1);
}

TEST_F(MsixTableTest, ResetMasksEveryVectorAndForgetsPendingOnes) {
  table_.set_control(true, false, true);
  program(0, 0xFEE0'0000, 0x30);
  write(12, 4, 1);
  table_.notify(0);
  table_.reset();
  EXPECT_EQ(read(0, 8), 0U);
  EXPECT_EQ(read(8, 8), std::uint64_t{1} << 32U);
  EXPECT_EQ(pending(), 0U);
}

TEST_F(MsixTableTest, MessageIsToldAnewAfterReset) {
  for (int start = 1; start <= 2; ++start) {
    table_.set_control(true, false, true);
    program(0, 0xFEE0'0000, 0x30);
    EXPECT_EQ(interrupts_[0].messages.size(), static_cast<std::size_t>(start));
    table_.reset();
  }
}

TEST(MsixTableSizeTest, PendingBitsArePaddedToWholeQuadwords) {
  std::deque<FakeInterrupt> interrupts(65);
  std::vector<MsiInterrupt*> pointers;
  for (FakeInterrupt& interrupt : interrupts) {
    pointers.push_back(&interrupt);
  }
  const MsixTable table(pointers);
  EXPECT_EQ(table.size(), 65);
  EXPECT_EQ(table.table_bytes(), 65U * 16);
  EXPECT_EQ(table.pba_bytes(), 16U);
}

}  // namespace
}  // namespace tapir::virtio
