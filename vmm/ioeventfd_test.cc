// SPDX-License-Identifier: Apache-2.0
#include "vmm/ioeventfd.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "net/base/event_fd.h"
#include "vmm/testing/kvm_guest.h"

namespace tapir::vmm {
namespace {

using testing::Code;
using ::testing::ElementsAre;
using testing::KvmGuest;
using virtio::GuestAddress;
using Write = testing::RecordingDevice::Write;

constexpr auto kDevice = static_cast<std::uint32_t>(KvmGuest::kDevice);

class IoeventfdTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (const auto reason = testing::reason_to_skip()) {
      GTEST_SKIP() << *reason;
    }
    auto guest = KvmGuest::create();
    ASSERT_TRUE(guest.has_value()) << guest.error().message();
    guest_ = *std::move(guest);
    auto event = EventFd::create();
    ASSERT_TRUE(event.has_value());
    event_.emplace(*std::move(event));
  }

  /// Runs `code` until it has written to the port behind it.
  void run(Code code) {
    const auto started = guest_->run(code.out8(KvmGuest::kPort, 0xFF).spin());
    ASSERT_TRUE(started.has_value()) << started.error().message();
    ASSERT_EQ(guest_->port_device.wait_for(1).size(), 1U);
    guest_->stop();
  }

  std::unique_ptr<KvmGuest> guest_;
  std::optional<EventFd> event_;
};

TEST_F(IoeventfdTest, SignalsAWriteOfTheValueOnly) {
  IoeventfdDoorbell doorbell(guest_->vm);
  const auto binding = doorbell.bind(GuestAddress{KvmGuest::kDevice + 0x50}, 4, 1, event_->fd());
  ASSERT_TRUE(binding.has_value()) << binding.error().message();
  run(Code().store32(kDevice + 0x50, 7).store32(kDevice + 0x50, 1));
  EXPECT_TRUE(event_->clear());
  EXPECT_THAT(guest_->memory_device.wait_for(1), ElementsAre(Write{0x50, 4, 7}))
      << "the other value goes to the bus";
}

TEST_F(IoeventfdTest, SignalsAWriteOfAnyWidthWithoutAValue) {
  IoeventfdDoorbell doorbell(guest_->vm);
  const auto binding = doorbell.bind(GuestAddress{KvmGuest::kDevice}, 2, std::nullopt, event_->fd());
  ASSERT_TRUE(binding.has_value()) << binding.error().message();
  run(Code().bytes({0xA2}).word32(kDevice).store32(kDevice + 4, 1));  // mov [device], al
  EXPECT_TRUE(event_->clear());
  EXPECT_THAT(guest_->memory_device.wait_for(1), ElementsAre(Write{4, 4, 1}));
}

TEST_F(IoeventfdTest, LeavesWritesToTheBusAfterItsEnd) {
  IoeventfdDoorbell doorbell(guest_->vm);
  auto binding = doorbell.bind(GuestAddress{KvmGuest::kDevice}, 4, 1, event_->fd());
  ASSERT_TRUE(binding.has_value()) << binding.error().message();
  binding->reset();
  run(Code().store32(kDevice, 1));
  EXPECT_FALSE(event_->clear());
  EXPECT_THAT(guest_->memory_device.wait_for(1), ElementsAre(Write{0, 4, 1}));
}

TEST_F(IoeventfdTest, RefusesASecondBindingOfTheSameWrite) {
  IoeventfdDoorbell doorbell(guest_->vm);
  const auto first = doorbell.bind(GuestAddress{KvmGuest::kDevice}, 4, 1, event_->fd());
  ASSERT_TRUE(first.has_value());
  const auto second = doorbell.bind(GuestAddress{KvmGuest::kDevice}, 4, 1, event_->fd());
  ASSERT_FALSE(second.has_value());
  EXPECT_EQ(second.error().code(), EEXIST);
  EXPECT_TRUE(doorbell.bind(GuestAddress{KvmGuest::kDevice}, 4, 2, event_->fd()).has_value());
}

TEST_F(IoeventfdTest, BindsPortsToo) {
  IoeventfdDoorbell doorbell(guest_->vm, IoeventfdDoorbell::Space::kPorts);
  const auto binding = doorbell.bind(GuestAddress{KvmGuest::kPort + 8}, 1, 3, event_->fd());
  ASSERT_TRUE(binding.has_value()) << binding.error().message();
  run(Code().out8(KvmGuest::kPort + 8, 3));
  EXPECT_TRUE(event_->clear());
}

}  // namespace
}  // namespace tapir::vmm
