// SPDX-License-Identifier: Apache-2.0
#include "vmm/serial.h"

#include <gtest/gtest.h>

#include <string>
#include <string_view>

#include "vmm/testing/fake_machine.h"

namespace tapir::vmm {
namespace {

// Registers, and bits by the names that Linux gives them.
constexpr std::uint64_t kRx = 0, kTx = 0, kDll = 0, kIer = 1, kDlm = 1, kIir = 2, kFcr = 2, kLcr = 3,
                        kMcr = 4, kLsr = 5, kMsr = 6, kScr = 7;
constexpr std::uint64_t kOut2 = 0x08, kLoop = 0x10, kDlab = 0x80, kDataReady = 0x01, kOverrun = 0x02,
                        kBreak = 0x10, kEmpty = 0x60, kNone = 0x01;

std::span<const std::byte> bytes(std::string_view text) {
  return std::as_bytes(std::span(text));
}

class SerialTest : public ::testing::Test {
 protected:
  std::uint64_t get(std::uint64_t offset) { return testing::read(port_, offset); }
  void set(std::uint64_t offset, std::uint64_t value) { testing::write(port_, offset, value); }
  std::string read_all() {
    std::string text;
    while ((get(kLsr) & kDataReady) != 0) {
      text.push_back(static_cast<char>(get(kRx)));
    }
    return text;
  }

  EventFd space_ = *EventFd::create();
  testing::FakeLevelInterrupt line_;
  testing::FakeSerialSink sink_;
  Serial port_{line_, &sink_, space_};
};

TEST_F(SerialTest, StartsInTheResetState) {
  EXPECT_EQ(get(kIer), 0U);
  EXPECT_EQ(get(kIir), kNone);
  EXPECT_EQ(get(kLcr), 0U);
  EXPECT_EQ(get(kMcr), 0U);
  EXPECT_EQ(get(kLsr), kEmpty);
  EXPECT_EQ(get(kMsr), 0xB0U);
  EXPECT_FALSE(line_.level);
}

TEST_F(SerialTest, SendsWhatIsWritten) {
  for (const char c : std::string("hello")) {
    ASSERT_EQ(get(kLsr) & kEmpty, kEmpty);
    set(kTx, static_cast<std::uint8_t>(c));
  }
  EXPECT_EQ(sink_.text, "hello");
}

TEST_F(SerialTest, SendsNothingWithoutASink) {
  Serial port(line_, nullptr, space_);
  testing::write(port, kTx, 'x');
  EXPECT_EQ(testing::read(port, kLsr), kEmpty);
}

// The probing of Linux, drivers/tty/serial/8250/8250_port.c, in its order.
TEST_F(SerialTest, LooksLikeA16550AToLinux) {
  set(kIer, 0x00);
  EXPECT_EQ(get(kIer) & 0x0F, 0U);
  set(kIer, 0x0F);
  EXPECT_EQ(get(kIer), 0x0FU);
  set(kIer, 0);
  set(kMcr, kLoop | 0x0A);
  EXPECT_EQ(get(kMsr) & 0xF0, 0x90U);
  set(kMcr, 0);
  set(kLcr, 0);
  set(kFcr, 0x01);
  EXPECT_EQ(get(kIir) >> 6, 3U);
  set(kLcr, kDlab);
  EXPECT_NE(get(kIir), 0U) << "no EFR: not a 16650";
  set(kLcr, 0xBF);
  EXPECT_NE(get(kIir), 0U) << "no EFR: not a 16650V2";
  set(kLcr, 0);
  set(kMcr, kLoop);
  set(kLcr, 0xE0);
  EXPECT_EQ(get(kIir) & kLoop, 0U) << "no EXCR1: not an NS16550A";
  set(kLcr, 0);
  set(kMcr, 0);
  set(kFcr, 0x21);
  EXPECT_EQ(get(kIir) & 0x20, 0U) << "no 64-byte FIFO: not a 16750";
  set(kIer, 0x40);
  EXPECT_EQ(get(kIer) & 0x40, 0U) << "no unit enable: not an XScale";
}

TEST_F(SerialTest, RaisesTheTransmitterInterruptAsSoonAsItIsEnabled) {
  set(kMcr, kOut2);
  set(kIer, 0x02);
  EXPECT_TRUE(line_.level);
  EXPECT_EQ(get(kIir), 0x02U);
  EXPECT_FALSE(line_.level) << "reading its identification takes it back";
  EXPECT_EQ(get(kIir), kNone);
  set(kIer, 0x00);
  set(kIer, 0x02);
  EXPECT_EQ(get(kIir), 0x02U) << "enabling it again raises it again";
  set(kTx, 'a');
  EXPECT_TRUE(line_.level) << "and so does each byte sent";
}

TEST_F(SerialTest, InterruptsReachTheLineOnlyThroughOut2) {
  set(kIer, 0x02);
  EXPECT_FALSE(line_.level);
  set(kMcr, kOut2);
  EXPECT_TRUE(line_.level);
  set(kMcr, kOut2 | kLoop);
  EXPECT_FALSE(line_.level) << "looped back, OUT2 does not leave the chip";
  set(kMcr, 0);
  EXPECT_FALSE(line_.level);
}

TEST_F(SerialTest, ReceivesThroughTheFifoInOrder) {
  set(kFcr, 0x01);
  EXPECT_EQ(port_.receive(bytes("hello")), 5U);
  EXPECT_EQ(read_all(), "hello");
  EXPECT_EQ(get(kRx), 0U) << "empty";
}

TEST_F(SerialTest, TakesOneByteWithoutFifosAndSixteenWithThem) {
  EXPECT_EQ(port_.receive(bytes("0123456789abcdefg")), 1U);
  EXPECT_EQ(read_all(), "0");
  set(kFcr, 0x01);
  EXPECT_EQ(port_.receive(bytes("0123456789abcdefg")), 16U);
  EXPECT_EQ(port_.receive(bytes("x")), 0U);
  EXPECT_EQ(read_all(), "0123456789abcdef");
}

TEST_F(SerialTest, TellsTheReaderWhenThereIsRoomAgain) {
  set(kFcr, 0x01);
  space_.clear();
  EXPECT_TRUE(port_.can_accept());
  EXPECT_EQ(port_.receive(bytes("0123456789abcdef")), 16U);
  get(kRx);
  EXPECT_FALSE(space_.clear()) << "nobody waited";
  port_.receive(bytes("gh"));
  get(kRx);
  EXPECT_TRUE(space_.clear());
  EXPECT_TRUE(port_.can_accept());
  port_.receive(bytes("h"));
  EXPECT_FALSE(port_.can_accept());
  set(kFcr, 0x03);
  EXPECT_TRUE(space_.clear()) << "clearing the FIFO makes room too";
}

TEST_F(SerialTest, LosesNothingUnderBackPressure) {
  set(kFcr, 0x01);
  std::string sent;
  for (unsigned i = 0; i < 5000; ++i) {
    sent.push_back(static_cast<char>('!' + i % 90));
  }
  std::string received;
  for (std::string_view rest = sent; !rest.empty() || (get(kLsr) & kDataReady) != 0;) {
    rest.remove_prefix(port_.receive(bytes(rest.substr(0, 23))));
    received.push_back(static_cast<char>(get(kRx)));
  }
  EXPECT_EQ(received, sent);
}

TEST_F(SerialTest, AsksTheReaderOfItsPredecessorToTryAgain) {
  space_.clear();
  const Serial next(line_, &sink_, space_);
  EXPECT_TRUE(space_.clear());
}

TEST_F(SerialTest, TellsDataFromTimeoutByTheTriggerLevel) {
  set(kMcr, kOut2);
  set(kIer, 0x01);
  set(kFcr, 0x81);  // 8 bytes
  port_.receive(bytes("1234567"));
  EXPECT_TRUE(line_.level);
  EXPECT_EQ(get(kIir), 0xCCU);
  port_.receive(bytes("8"));
  EXPECT_EQ(get(kIir), 0xC4U);
  EXPECT_EQ(read_all(), "12345678");
  EXPECT_FALSE(line_.level);
  EXPECT_EQ(get(kIir), 0xC0U | kNone);
}

TEST_F(SerialTest, SortsInterruptsByPriority) {
  set(kMcr, kOut2);
  set(kFcr, 0x01);
  set(kIer, 0x0F);
  set(kMcr, kOut2 | kLoop);  // DCD on, the others off: modem status changes
  set(kMcr, kOut2);
  port_.receive_break();
  EXPECT_EQ(get(kIir) & 0x0F, 0x06U);
  EXPECT_EQ(get(kLsr) & (kBreak | kDataReady), kBreak | kDataReady);
  EXPECT_EQ(get(kIir) & 0x0F, 0x04U);
  EXPECT_EQ(get(kRx), 0U);
  EXPECT_EQ(get(kIir) & 0x0F, 0x02U);
  EXPECT_EQ(get(kIir) & 0x0F, 0x00U);
  EXPECT_TRUE(line_.level);
  EXPECT_EQ(get(kMsr) & 0x0F, 0x03U) << "CTS and DSR went off and on";
  EXPECT_EQ(get(kIir) & 0x0F, kNone);
  EXPECT_FALSE(line_.level);
}

TEST_F(SerialTest, BreakComesUpWithItsOwnByte) {
  set(kFcr, 0x01);
  port_.receive(bytes("a"));
  port_.receive_break();
  EXPECT_EQ(get(kLsr) & (kBreak | 0x80), 0x80U) << "an error waits in the FIFO";
  EXPECT_EQ(get(kRx), std::uint64_t{'a'});
  EXPECT_EQ(get(kLsr) & (kBreak | kDataReady), kBreak | kDataReady);
  EXPECT_EQ(get(kLsr) & kBreak, 0U) << "reading clears it";
}

TEST_F(SerialTest, LoopsBackWithoutSendingOrReceiving) {
  set(kFcr, 0x01);
  set(kMcr, kLoop);
  EXPECT_FALSE(port_.can_accept());
  EXPECT_EQ(port_.receive(bytes("x")), 0U);
  set(kTx, 'a');
  EXPECT_EQ(read_all(), "a");
  EXPECT_EQ(sink_.text, "");
  for (unsigned i = 0; i < 17; ++i) {
    set(kTx, i);
  }
  EXPECT_EQ(get(kLsr) & kOverrun, kOverrun);
  space_.clear();
  set(kMcr, 0);
  EXPECT_FALSE(space_.clear()) << "the FIFO is full still";
  set(kFcr, 0x03);
  EXPECT_TRUE(space_.clear());
}

TEST_F(SerialTest, LoopbackWiresTheModemLinesCrosswise) {
  const std::pair<unsigned, unsigned> lines[] = {{0x01, 0x20}, {0x02, 0x10}, {0x04, 0x40}, {0x08, 0x80}};
  for (const auto& [control, status] : lines) {
    set(kMcr, kLoop | control);
    EXPECT_EQ(get(kMsr) & 0xF0, status);
  }
}

// SER-02: a divisor of 0 stopped an emulator once (CVE-2016-8669). Nothing here divides by it.
TEST_F(SerialTest, TakesEveryDivisor) {
  for (unsigned value = 0; value <= 0xFFFF; value += value < 0x200 ? 1 : 251) {
    set(kLcr, kDlab | 3);
    set(kDll, value & 0xFF);
    set(kDlm, value >> 8);
    EXPECT_EQ(get(kDll) | (get(kDlm) << 8), value);
    set(kLcr, 3);
    set(kTx, 'x');
  }
  EXPECT_EQ(sink_.text.find_first_not_of('x'), std::string::npos);
}

TEST_F(SerialTest, DivisorDoesNotReachTheOtherRegisters) {
  set(kLcr, kDlab);
  set(kDll, 'a');
  set(kDlm, 0x0F);
  set(kLcr, 0);
  EXPECT_EQ(sink_.text, "");
  EXPECT_EQ(get(kIer), 0U);
}

TEST_F(SerialTest, KeepsTheScratchRegister) {
  for (unsigned value = 0; value < 256; ++value) {
    set(kScr, value);
    EXPECT_EQ(get(kScr), value);
  }
}

TEST_F(SerialTest, SurvivesEveryRegisterWithEveryValue) {
  for (const std::uint64_t prepare : {std::uint64_t{0}, kOut2, kLoop, kLoop | kOut2}) {
    for (std::uint64_t offset = 0; offset < 10; ++offset) {
      for (unsigned value = 0; value < 256; ++value) {
        set(kMcr, prepare);
        set(offset, value);
        port_.receive(bytes("input"));
        for (std::uint64_t other = 0; other < 10; ++other) {
          get(other);
        }
        testing::write(port_, 0, value * std::uint64_t{0x0101'0101'0101'0101}, 8);
        testing::read(port_, 0, 8);
      }
    }
  }
  set(kLcr, 0);
  set(kMcr, 0);
  sink_.text.clear();
  set(kTx, '!');
  EXPECT_EQ(sink_.text, "!");
}

TEST_F(SerialTest, CallsTheLineOnlyWhenItsLevelChanges) {
  const unsigned before = line_.changes;
  for (unsigned i = 0; i < 1000; ++i) {
    set(kTx, 'x');
    get(kLsr);
  }
  EXPECT_EQ(line_.changes, before);
}

}  // namespace
}  // namespace tapir::vmm
