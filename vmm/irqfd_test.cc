// SPDX-License-Identifier: Apache-2.0
#include "vmm/irqfd.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <cstring>
#include <thread>

#include "vmm/testing/kvm_guest.h"

namespace tapir::vmm {
namespace {

using testing::Code;
using ::testing::ElementsAre;
using testing::KvmGuest;
using Write = testing::RecordingDevice::Write;

constexpr std::uint64_t kLapicAddress = 0xFEE0'0000;

/// A guest whose boot CPU does not run but whose LAPIC is on, so that what reaches it can be read from its
/// IRR.
class IrqfdTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (const auto reason = testing::reason_to_skip()) {
      GTEST_SKIP() << *reason;
    }
    auto guest = KvmGuest::create();
    ASSERT_TRUE(guest.has_value()) << guest.error().message();
    guest_ = *std::move(guest);
    auto routing = IrqRouting::create(guest_->vm);
    ASSERT_TRUE(routing.has_value()) << routing.error().message();
    routing_ = *std::move(routing);
    kvm_lapic_state lapic = get_lapic();
    const std::uint32_t enabled = 0x1FF;
    std::memcpy(lapic.regs + 0xF0, &enabled, sizeof enabled);
    ASSERT_TRUE(kvm_ioctl(guest_->vcpus[0]->fd(), KVM_SET_LAPIC, "KVM_SET_LAPIC", &lapic).has_value());
  }

  kvm_lapic_state get_lapic() {
    kvm_lapic_state lapic{};
    EXPECT_TRUE(kvm_ioctl(guest_->vcpus[0]->fd(), KVM_GET_LAPIC, "KVM_GET_LAPIC", &lapic).has_value());
    return lapic;
  }

  bool requested(unsigned vector) {
    const kvm_lapic_state lapic = get_lapic();
    std::uint32_t word = 0;
    std::memcpy(&word, lapic.regs + 0x200 + vector / 32 * 0x10, sizeof word);
    return (word >> vector % 32 & 1) != 0;
  }

  bool becomes_requested(unsigned vector) {
    const auto deadline = std::chrono::steady_clock::now() + testing::kPatience;
    while (!requested(vector)) {
      if (std::chrono::steady_clock::now() > deadline) {
        return false;
      }
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    return true;
  }

  /// What is pending on the pins of the IOAPIC.
  std::uint32_t ioapic_requests() {
    kvm_irqchip chip{};
    chip.chip_id = KVM_IRQCHIP_IOAPIC;
    EXPECT_TRUE(kvm_ioctl(guest_->vm.fd(), KVM_GET_IRQCHIP, "KVM_GET_IRQCHIP", &chip).has_value());
    return chip.chip.ioapic.irr;
  }

  /// Sends a pin of the IOAPIC to the boot CPU with this vector, unmasked.
  void program_pin(unsigned pin, std::uint8_t vector, bool level) {
    kvm_irqchip chip{};
    chip.chip_id = KVM_IRQCHIP_IOAPIC;
    ASSERT_TRUE(kvm_ioctl(guest_->vm.fd(), KVM_GET_IRQCHIP, "KVM_GET_IRQCHIP", &chip).has_value());
    chip.chip.ioapic.redirtbl[pin].bits = vector | (level ? 1U << 15 : 0U);
    ASSERT_TRUE(kvm_ioctl(guest_->vm.fd(), KVM_SET_IRQCHIP, "KVM_SET_IRQCHIP", &chip).has_value());
  }

  std::unique_ptr<KvmGuest> guest_;
  std::unique_ptr<IrqRouting> routing_;
};

TEST_F(IrqfdTest, SendsTheMessageOfAnMsi) {
  const auto msi = MsiIrqfd::create(guest_->vm, *routing_);
  ASSERT_TRUE(msi.has_value()) << msi.error().message();
  ASSERT_TRUE((*msi)->set_message({kLapicAddress, 0x41}).has_value());
  EXPECT_FALSE(requested(0x41));
  (*msi)->trigger();
  EXPECT_TRUE(becomes_requested(0x41));
}

TEST_F(IrqfdTest, SendsTheNewMessageAfterAChange) {
  const auto first = MsiIrqfd::create(guest_->vm, *routing_);
  const auto second = MsiIrqfd::create(guest_->vm, *routing_);
  ASSERT_TRUE(first.has_value() && second.has_value());
  ASSERT_TRUE((*first)->set_message({kLapicAddress, 0x41}).has_value());
  ASSERT_TRUE((*second)->set_message({kLapicAddress, 0x42}).has_value());
  ASSERT_TRUE((*first)->set_message({kLapicAddress, 0x51}).has_value());
  (*first)->trigger();
  EXPECT_TRUE(becomes_requested(0x51));
  EXPECT_FALSE(requested(0x41));
  (*second)->trigger();
  EXPECT_TRUE(becomes_requested(0x42));
}

TEST_F(IrqfdTest, PulsesAPinOfTheIoApicAfterMsisWereRouted) {
  const auto msi = MsiIrqfd::create(guest_->vm, *routing_);
  ASSERT_TRUE(msi.has_value());
  ASSERT_TRUE((*msi)->set_message({kLapicAddress, 0x41}).has_value());
  program_pin(20, 0x61, false);
  const auto line = GsiInterrupt::create(guest_->vm, 20);
  ASSERT_TRUE(line.has_value()) << line.error().message();
  (*line)->trigger();
  EXPECT_TRUE(becomes_requested(0x61));
}

TEST_F(IrqfdTest, SeveralInterruptsShareAGsi) {
  program_pin(5, 0x62, false);
  const auto first = GsiInterrupt::create(guest_->vm, 5);
  const auto second = GsiInterrupt::create(guest_->vm, 5);
  ASSERT_TRUE(first.has_value() && second.has_value());
  (*second)->trigger();
  EXPECT_TRUE(becomes_requested(0x62));
}

TEST_F(IrqfdTest, MovesGsiZeroToPinTwo) {
  program_pin(2, 0x63, false);
  const auto pit = GsiInterrupt::create(guest_->vm, 0);
  ASSERT_TRUE(pit.has_value());
  (*pit)->trigger();
  EXPECT_TRUE(becomes_requested(0x63));
}

TEST_F(IrqfdTest, HoldsALevelWhileAnySourceAssertsIt) {
  constexpr unsigned kGsi = 16;
  program_pin(kGsi, 0x64, true);
  LevelLines lines(guest_->vm);
  auto first = lines.add_source(kGsi);
  auto second = lines.add_source(kGsi);
  const auto high = [this] { return (ioapic_requests() >> kGsi & 1) != 0; };
  EXPECT_FALSE(high());
  first->set_level(true);
  first->set_level(true);
  EXPECT_TRUE(high());
  second->set_level(true);
  first->set_level(false);
  EXPECT_TRUE(high());
  first->set_level(false);
  EXPECT_TRUE(high());
  second.reset();
  EXPECT_FALSE(high()) << "a source that goes away lets go of its line";
  first->set_level(true);
  EXPECT_TRUE(high());
  EXPECT_TRUE(requested(0x64));
}

TEST_F(IrqfdTest, KeepsTheLevelRightUnderManyThreads) {
  constexpr unsigned kGsi = 17;
  program_pin(kGsi, 0x65, true);
  LevelLines lines(guest_->vm);
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&lines] {
      const auto source = lines.add_source(kGsi);
      for (int turn = 0; turn < 500; ++turn) {
        source->set_level(turn % 2 == 0);
      }
    });
  }
  for (auto& thread : threads) {
    thread.join();
  }
  EXPECT_EQ(ioapic_requests() >> kGsi & 1, 0U);
}

TEST_F(IrqfdTest, RunsTheGuestsHandler) {
  // Vector 0x41 of the IDT: a 32-bit interrupt gate to 0x150000.
  const std::uint64_t gate = 0x0015'8E00'0010'0000;
  guest_->load(KvmGuest::kIdt + 0x41 * 8, std::as_bytes(std::span(&gate, 1)));
  const std::uint8_t descriptor[] = {0xFF, 0x07, 0x00, 0x80, 0x00, 0x00};  // limit 0x7FF, base kIdt
  guest_->load(0x9000, std::as_bytes(std::span(descriptor)));
  guest_->load(0x15'0000, Code().out8(KvmGuest::kPort + 1, 0x41).spin().get());
  const auto msi = MsiIrqfd::create(guest_->vm, *routing_);
  ASSERT_TRUE(msi.has_value());
  ASSERT_TRUE((*msi)->set_message({kLapicAddress, 0x41}).has_value());
  const auto started = guest_->run(Code()
                                       .bytes({0x0F, 0x01, 0x1D})
                                       .word32(0x9000)  // lidt [0x9000]
                                       .out8(KvmGuest::kPort, 1)
                                       .bytes({0xFB, 0xF4})  // sti; hlt
                                       .spin());
  ASSERT_TRUE(started.has_value()) << started.error().message();
  ASSERT_EQ(guest_->port_device.wait_for(1).size(), 1U);
  (*msi)->trigger();
  EXPECT_THAT(guest_->port_device.wait_for(2), ElementsAre(Write{0, 1, 1}, Write{1, 1, 0x41}));
  guest_->stop();
}

}  // namespace
}  // namespace tapir::vmm
