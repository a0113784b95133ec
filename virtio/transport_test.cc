// SPDX-License-Identifier: Apache-2.0
// What a driver may rely on with either transport. Ids in comments are rows of the project's conformance
// table.
#include "virtio/testing/transport_driver.h"

#include <gtest/gtest.h>

#include <array>
#include <cstdint>
#include <thread>
#include <vector>

#include "virtio/testing/both_transports.h"

namespace tapir::virtio::testing {
namespace {

using Area = TransportDriver::Area;

constexpr std::uint64_t kVersion1 = std::uint64_t{1} << 32U;

template <typename Driver>
class TransportTest : public ::testing::Test {
 protected:
  TransportParts parts;
  Driver driver{parts};
};

TYPED_TEST_SUITE(TransportTest, TransportDrivers, TransportDriverNames);

// TR-11, C50, C126: every state that a driver can bring about, every value
TYPED_TEST(TransportTest, StatusRegisterFollowsTheStatusMachine) {
  for (const std::uint32_t reached : {0x0U, 0x1U, 0x3U, 0xBU, 0xFU}) {
    for (const std::uint32_t failed : {0x0U, 0x80U}) {
      for (std::uint32_t written = 0; written < 256; ++written) {
        this->driver.write_status(0);
        for (const std::uint32_t step : {0x1U, 0x3U, 0xBU, 0xFU}) {
          if (step == 0x3U) {
            this->driver.write_driver_features(1, 1);
          }
          if (step <= reached) {
            this->driver.write_status(step);
          }
        }
        if (failed != 0) {
          this->driver.write_status(failed);
        }
        ASSERT_EQ(this->driver.status(), reached | failed);
        this->driver.write_status(written);
        ASSERT_EQ(this->driver.status(),
                  next_device_status(static_cast<std::uint8_t>(reached | failed), written))
            << "status " << (reached | failed) << " written " << written;
      }
    }
  }
}

// C33, C47, C64, C7
TYPED_TEST(TransportTest, OffersFeaturesInPagesAndZeroBeyond) {
  EXPECT_EQ(this->driver.device_features(0), 0xFFU);
  EXPECT_EQ(this->driver.device_features(1), 1U);
  for (const std::uint32_t page : {2U, 3U, 31U, 32U, 0x8000'0000U, 0xFFFF'FFFFU}) {
    EXPECT_EQ(this->driver.device_features(page), 0U) << page;
  }
}

// C5, C8
TYPED_TEST(TransportTest, AgreesToEverySubsetAgainAndAgain) {
  for (std::uint64_t subset = 0; subset < 256; ++subset) {
    ASSERT_TRUE(this->driver.negotiate(kVersion1 | subset)) << subset;
    this->driver.write_status(0xF);
    ASSERT_EQ(this->parts.device.active->features, kVersion1 | subset);
  }
}

// C6
TYPED_TEST(TransportTest, LeavesFeaturesOkClearForABitThatWasNotOffered) {
  for (unsigned bit = 0; bit < 64; ++bit) {
    const std::uint64_t feature = std::uint64_t{1} << bit;
    EXPECT_EQ(this->driver.negotiate(kVersion1 | feature), (this->parts.device.offered & feature) != 0)
        << bit;
  }
  EXPECT_EQ(this->parts.device.activations, 0);
}

// C6
TYPED_TEST(TransportTest, LeavesFeaturesOkClearForABitOfAPageThatDoesNotExist) {
  this->driver.write_status(1);
  this->driver.write_status(3);
  this->driver.write_driver_features(1, 1);
  this->driver.write_driver_features(2, 1);
  this->driver.write_status(0xB);
  EXPECT_EQ(this->driver.status(), 3U);
  EXPECT_TRUE(this->driver.negotiate(kVersion1));
}

// C6, C34
TYPED_TEST(TransportTest, LeavesFeaturesOkClearWhenTheDeviceRefuses) {
  this->parts.device.refused = 0x4;
  EXPECT_FALSE(this->driver.negotiate(kVersion1 | 0x4));
  EXPECT_EQ(this->driver.status(), 3U);
  this->driver.write_status(0xF);  // goes on regardless
  EXPECT_EQ(this->driver.status(), 3U);
  EXPECT_EQ(this->parts.device.activations, 0);
  EXPECT_TRUE(this->driver.negotiate(kVersion1));
}

// C127
TYPED_TEST(TransportTest, IgnoresFeaturesWrittenAfterFeaturesOk) {
  ASSERT_TRUE(this->driver.negotiate(kVersion1 | 0x3));
  this->driver.write_driver_features(0, 0xF0);
  this->driver.write_driver_features(1, 0xFFFF'FFFF);
  this->driver.write_status(0xF);
  ASSERT_TRUE(this->parts.device.active);
  EXPECT_EQ(this->parts.device.active->features, kVersion1 | 0x3);
}

// C11
TYPED_TEST(TransportTest, ConfigurationIsReadableBeforeAnythingIsNegotiated) {
  this->parts.device.config[5] = std::byte{0x42};
  std::array<std::byte, 1> byte{};
  this->driver.read_config(5, byte);
  EXPECT_EQ(byte[0], std::byte{0x42});
}

// C52, C78: any width at any offset, and zero beyond the device's configuration
TYPED_TEST(TransportTest, ConfigurationIsReadInAnyWidthAtAnyOffset) {
  std::vector<std::byte>& config = this->parts.device.config;
  for (std::size_t i = 0; i < config.size(); ++i) {
    config[i] = static_cast<std::byte>(0x80 + i);
  }
  for (std::size_t offset = 0; offset < 0x40; ++offset) {
    for (const std::size_t bytes : {1U, 2U, 4U, 8U}) {
      std::array<std::byte, 8> into{};
      this->driver.read_config(offset, std::span(into).first(bytes));
      for (std::size_t i = 0; i < bytes; ++i) {
        const std::byte expected = offset + i < config.size() ? config[offset + i] : std::byte{0};
        ASSERT_EQ(into[i], expected) << "offset " << offset << " width " << bytes << " byte " << i;
      }
    }
  }
}

// C42, C66
TYPED_TEST(TransportTest, ConfigGenerationChangesWithTheConfiguration) {
  this->driver.start({0});
  const std::uint32_t before = this->driver.config_generation();
  EXPECT_EQ(this->driver.config_generation(), before);
  this->parts.device.active->notifier->notify_config();
  EXPECT_NE(this->driver.config_generation(), before);
}

// C48, C70
TYPED_TEST(TransportTest, LargestQueueSizeIsZeroForAQueueThatDoesNotExist) {
  const std::array<std::uint32_t, 4> sizes = {256, 128, 64, 256};
  for (std::uint32_t index = 0; index < 0x1'0000; ++index) {
    this->driver.select_queue(index);
    ASSERT_EQ(this->driver.queue_max_size(), index < sizes.size() ? sizes[index] : 0U) << index;
  }
}

// C49, C68, C41
TYPED_TEST(TransportTest, QueueEnableReadsBackUntilReset) {
  ASSERT_TRUE(this->driver.negotiate(kVersion1));
  this->driver.set_up_queue(2);
  EXPECT_TRUE(this->driver.queue_enabled());
  this->driver.select_queue(1);
  EXPECT_FALSE(this->driver.queue_enabled());
  this->driver.write_status(0);
  this->driver.select_queue(2);
  EXPECT_FALSE(this->driver.queue_enabled());
}

// TR-01: rings that were valid when the queue was enabled stay, so that activation succeeds
TYPED_TEST(TransportTest, PoisonAfterEnablingDoesNotReachTheDevice) {
  ASSERT_TRUE(this->driver.negotiate(kVersion1));
  this->driver.set_up_queue(0);
  this->driver.set_queue_size(3);
  for (const Area area : {Area::kDescriptor, Area::kDriver, Area::kDevice}) {
    this->driver.set_queue_address(area, 0xFFFF'FFFF'FFFF'FFFF);
  }
  this->driver.write_status(0xF);
  EXPECT_EQ(this->driver.status(), 0xFU);
  EXPECT_EQ(this->parts.device.active->queues.size(), 1U);
}

// virtio 1.3, 2.7 and 2.8.10.1: only packed virtqueues may have a size that is no power of two.
TYPED_TEST(TransportTest, OddQueueSizesAreForPackedVirtqueues) {
  this->parts.device.offered |= std::uint64_t{1} << 34U;
  for (const bool packed : {false, true}) {
    ASSERT_TRUE(this->driver.negotiate(kVersion1 | std::uint64_t{packed} << 34U));
    this->driver.set_up_queue(0);
    this->driver.select_queue(1);
    this->driver.set_queue_size(8);
    this->driver.set_queue_size(7);
    this->driver.set_queue_address(Area::kDescriptor, 0x1000);
    this->driver.set_queue_address(Area::kDriver, 0x2000);
    this->driver.set_queue_address(Area::kDevice, 0x2004);
    this->driver.enable_queue();
    this->driver.write_status(0xF);
    ASSERT_EQ(this->parts.device.active->queues.size(), 2U);
    EXPECT_EQ(this->parts.device.active->queues[0].queue.size(), 8U);
    EXPECT_EQ(this->parts.device.active->queues[1].queue.size(), packed ? 7U : 8U);
  }
}

// C60
TYPED_TEST(TransportTest, BothHalvesOfQueueAddressesCount) {
  ASSERT_TRUE(this->driver.negotiate(kVersion1));
  this->driver.select_queue(0);
  this->driver.set_queue_size(8);
  this->driver.set_queue_address(Area::kDescriptor, 0x1'0000'0000);  // the low half alone would be RAM
  this->driver.set_queue_address(Area::kDriver, 0x1000);
  this->driver.set_queue_address(Area::kDevice, 0x2000);
  this->driver.enable_queue();
  this->driver.write_status(0xF);
  EXPECT_EQ(this->driver.status(), 0x4FU);
}

// TR-02, C56, C32
TYPED_TEST(TransportTest, KickSignalsItsQueueAndOthersAreIgnored) {
  this->driver.start({0, 1, 2, 3});
  this->driver.notify(2);
  for (const ActiveQueue& queue : this->parts.device.active->queues) {
    EXPECT_EQ(is_signalled(queue.kick_fd), queue.index == 2);
  }
  this->driver.write_status(0);
  this->driver.start({0, 1, 2, 3});
  for (std::uint32_t index = 4; index < 0x1'0000; ++index) {
    this->driver.notify(index);
  }
  for (const std::uint32_t index : {0x1'0000U, 0x1'0001U, 0x8000'0000U, 0xFFFF'FFFFU}) {
    this->driver.notify(index);
  }
  for (const ActiveQueue& queue : this->parts.device.active->queues) {
    EXPECT_FALSE(is_signalled(queue.kick_fd)) << queue.index;
  }
}

// TR-13
TYPED_TEST(TransportTest, KickBeforeActivationIsSeenByTheDevice) {
  ASSERT_TRUE(this->driver.negotiate(kVersion1));
  this->driver.set_up_queue(1);
  this->driver.notify(1);
  this->driver.write_status(0xF);
  ASSERT_EQ(this->parts.device.active->queues.size(), 1U);
  EXPECT_TRUE(is_signalled(this->parts.device.active->queues[0].kick_fd));
}

TYPED_TEST(TransportTest, ResetForgetsOldKicks) {
  this->driver.start({1});
  this->driver.notify(1);
  this->driver.start({1});
  EXPECT_FALSE(is_signalled(this->parts.device.active->queues[0].kick_fd));
}

// TR-09
TYPED_TEST(TransportTest, StartsWithoutAnyQueueAThousandTimes) {
  for (int i = 0; i < 1000; ++i) {
    this->driver.start({});
    ASSERT_EQ(this->driver.status(), 0xFU);
    ASSERT_TRUE(this->parts.device.active->queues.empty());
  }
}

// TR-10, C2, C3
TYPED_TEST(TransportTest, FailedActivationNeedsResetAndTellsTheDriver) {
  this->parts.device.refuse_activation = true;
  this->driver.start({0});
  EXPECT_EQ(this->driver.status(), 0x4FU);
  EXPECT_EQ(this->driver.take_interrupt_status(), 2U);
  this->parts.device.refuse_activation = false;
  this->driver.start({0});
  EXPECT_EQ(this->driver.status(), 0xFU);
}

// TR-10, C128: rings that are misaligned or not in RAM never reach the device
TYPED_TEST(TransportTest, BadRingNeedsReset) {
  struct Bad {
    Area area;
    std::uint64_t address;
  };
  for (const Bad& bad : {Bad{Area::kDescriptor, 0x1'0001}, Bad{Area::kDriver, 0x1'0401},
                         Bad{Area::kDevice, 0x1'0802}, Bad{Area::kDescriptor, 0xF'FFF0},
                         Bad{Area::kDriver, 0xE100'0000}, Bad{Area::kDevice, 0xFFFF'FFFF'FFFF'FFFC}}) {
    ASSERT_TRUE(this->driver.negotiate(kVersion1));
    this->driver.select_queue(0);
    this->driver.set_queue_size(8);
    this->driver.set_queue_address(Area::kDescriptor, 0x1'0000);
    this->driver.set_queue_address(Area::kDriver, 0x1'0400);
    this->driver.set_queue_address(Area::kDevice, 0x1'0800);
    this->driver.set_queue_address(bad.area, bad.address);
    this->driver.enable_queue();
    this->driver.write_status(0xF);
    EXPECT_EQ(this->driver.status(), 0x4FU) << std::hex << bad.address;
  }
  EXPECT_EQ(this->parts.device.activations, 0);
  this->driver.start({0});
  EXPECT_EQ(this->driver.status(), 0xFU);
}

// C9, C67
TYPED_TEST(TransportTest, StatusReadsZeroAfterResetFromAnyState) {
  this->driver.start({0, 1});
  this->parts.device.active->notifier->set_needs_reset();
  EXPECT_EQ(this->driver.status(), 0x4FU);
  this->driver.write_status(0);
  EXPECT_EQ(this->driver.status(), 0U);
  EXPECT_FALSE(this->parts.device.active);
}

// RST-02, C41
TYPED_TEST(TransportTest, RegistersAfterMachineResetAreThoseOfPowerOn) {
  const std::vector<std::uint32_t> power_on = this->driver.dump();
  this->driver.start({0, 1, 2, 3}, kVersion1 | 0xFF);
  this->parts.device.active->notifier->notify_queue(1);
  this->driver.select_queue(3);
  this->driver.device_features(1);
  EXPECT_NE(this->driver.dump(), power_on);
  this->driver.machine_reset();
  EXPECT_EQ(this->driver.dump(), power_on);
}

// RST-02: a driver's reset gives the same registers
TYPED_TEST(TransportTest, RegistersAfterDriverResetAreThoseOfPowerOn) {
  const std::vector<std::uint32_t> power_on = this->driver.dump();
  this->driver.start({0, 3}, kVersion1 | 0xFF);
  this->driver.write_status(0);
  EXPECT_EQ(this->driver.dump(), power_on);
}

// The I/O thread may be inside the Notifier while a vCPU waits for it in activate() or reset().
TYPED_TEST(TransportTest, NotificationsDuringActivationAndResetDoNotDeadlock) {
  const auto notify_from_another_thread = [](Notifier& notifier) {
    std::thread io([&notifier] {
      notifier.notify_queue(0);
      notifier.notify_config();
      notifier.set_needs_reset();
    });
    io.join();
  };
  this->parts.device.on_activate = notify_from_another_thread;
  this->parts.device.on_reset = notify_from_another_thread;
  this->driver.start({0});
  EXPECT_EQ(this->driver.status(), 0x4FU);
  EXPECT_NE(this->driver.take_interrupt_status(), 0U);
  this->driver.write_status(0);
  EXPECT_EQ(this->driver.status(), 0U);
  EXPECT_EQ(this->driver.take_interrupt_status(), 0U);
}

// TR-10: other vCPUs can kick while one waits for an activation
TYPED_TEST(TransportTest, KickDoesNotWaitForAnActivation) {
  this->parts.device.on_activate = [this](Notifier& /*notifier*/) {
    std::thread other_vcpu([this] { this->driver.notify(0); });
    other_vcpu.join();
  };
  this->driver.start({0});
  EXPECT_TRUE(is_signalled(this->parts.device.active->queues[0].kick_fd));
}

}  // namespace
}  // namespace tapir::virtio::testing
