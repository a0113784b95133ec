// SPDX-License-Identifier: Apache-2.0
// The control virtqueue as the driver sees it, over an in-memory host end. NET-nn, VQ-nn and Cnn are the rows
// of the list of known bugs and of the conformance list.
#include "virtio/net_control.h"

#include <gtest/gtest.h>

#include <array>
#include <cstring>
#include <initializer_list>
#include <random>
#include <type_traits>

#include "virtio/testing/net_device_fixture.h"

namespace tapir::virtio {
namespace {

using net::MacAddress;
using testing::ChainBuilder;
using testing::feature;
using testing::make_header;
using testing::NetDriver;
using testing::pattern;
using testing::with_header;

constexpr std::uint8_t kOk = VIRTIO_NET_OK;
constexpr std::uint8_t kError = VIRTIO_NET_ERR;
constexpr MacAddress kStranger{{0x52, 0x54, 0x00, 0xAA, 0xBB, 0xCC}};
constexpr MacAddress kGroup{{0x33, 0x33, 0x00, 0x00, 0x00, 0x01}};

using Bytes = std::vector<std::byte>;

template <typename... Values>
Bytes bytes_of(const Values&... values) {
  Bytes bytes;
  const auto append = [&](const auto& value) {
    static_assert(std::is_trivially_copyable_v<std::remove_reference_t<decltype(value)>>);
    const auto span = std::as_bytes(std::span(&value, 1));
    bytes.insert(bytes.end(), span.begin(), span.end());
  };
  (append(values), ...);
  return bytes;
}

class NetControlTest : public testing::NetDeviceTest {
 protected:
  std::optional<std::uint8_t> command(std::uint8_t command_class, std::uint8_t number,
                                      const Bytes& data = {}) {
    return driver_->command(command_class, number, data);
  }
  std::optional<std::uint8_t> mode(std::uint8_t number, std::uint8_t on) {
    return command(VIRTIO_NET_CTRL_RX, number, bytes_of(on));
  }
  static Bytes frame_to(const MacAddress& mac, unsigned seed = 0) {
    Bytes frame = pattern(60, seed);
    std::memcpy(frame.data(), mac.octets.data(), 6);
    return frame;
  }
  static Bytes tagged(Bytes frame, std::uint16_t id) {
    frame[12] = std::byte{0x81};
    frame[13] = std::byte{0};
    frame[14] = static_cast<std::byte>(id >> 8U);
    frame[15] = static_cast<std::byte>(id & 0xFFU);
    return frame;
  }
  /// Whether the driver gets this frame. A broadcast after it tells when the device is through.
  bool arrives(const Bytes& frame) {
    const Bytes last = frame_to(MacAddress{{0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF}}, 99);
    driver_->post(8, 2048);
    io_->inject(with_header({}, frame));
    io_->inject(with_header({}, last));
    const auto first = driver_->wait_for_frame();
    if (!first || first->frame == last) {
      return false;
    }
    EXPECT_EQ(first->frame, frame);
    const auto second = driver_->wait_for_frame();
    EXPECT_TRUE(second && second->frame == last);
    return true;
  }
  MacAddress mac_in_configuration() const {
    virtio_net_config config{};
    device_->read_config(0, std::as_writable_bytes(std::span(&config, 1)));
    MacAddress mac;
    std::memcpy(mac.octets.data(), config.mac, 6);
    return mac;
  }
  unsigned status_in_configuration() const {
    virtio_net_config config{};
    device_->read_config(0, std::as_writable_bytes(std::span(&config, 1)));
    return config.status;
  }
  const NetQueueCounters& control() const { return device_->counters().control; }
};

// C114, C117
TEST_F(NetControlTest, PromiscuousModeDecidesAboutForeignFrames) {
  activate();
  EXPECT_TRUE(arrives(frame_to(kStranger)));
  EXPECT_EQ(mode(VIRTIO_NET_CTRL_RX_PROMISC, 0), kOk);
  EXPECT_FALSE(arrives(frame_to(kStranger)));
  EXPECT_TRUE(arrives(frame_to(testing::kTestMac)));
  EXPECT_FALSE(arrives(frame_to(kGroup)));
  EXPECT_EQ(received().filtered.get(), 2U);
  EXPECT_EQ(received().dropped.get(), 0U);
  EXPECT_EQ(mode(VIRTIO_NET_CTRL_RX_PROMISC, 1), kOk);
  EXPECT_TRUE(arrives(frame_to(kStranger)));
}

// C114, C115
TEST_F(NetControlTest, EveryReceiveModeTakesEffect) {
  activate();
  ASSERT_EQ(mode(VIRTIO_NET_CTRL_RX_PROMISC, 0), kOk);
  EXPECT_EQ(mode(VIRTIO_NET_CTRL_RX_ALLMULTI, 1), kOk);
  EXPECT_TRUE(arrives(frame_to(kGroup)));
  EXPECT_EQ(mode(VIRTIO_NET_CTRL_RX_NOMULTI, 1), kOk);
  EXPECT_FALSE(arrives(frame_to(kGroup)));
  EXPECT_EQ(mode(VIRTIO_NET_CTRL_RX_ALLUNI, 1), kOk);
  EXPECT_TRUE(arrives(frame_to(kStranger)));
  EXPECT_EQ(mode(VIRTIO_NET_CTRL_RX_NOUNI, 1), kOk);
  EXPECT_FALSE(arrives(frame_to(testing::kTestMac)));
  EXPECT_EQ(mode(VIRTIO_NET_CTRL_RX_NOUNI, 0), kOk);
  EXPECT_EQ(mode(VIRTIO_NET_CTRL_RX_NOBCAST, 1), kOk);
  EXPECT_EQ(mode(VIRTIO_NET_CTRL_RX_NOBCAST, 0), kOk);
  EXPECT_TRUE(arrives(frame_to(testing::kTestMac)));
  EXPECT_EQ(control().frames.get(), 8U);
}

// C116, NET-05
TEST_F(NetControlTest, MacTablesLetInTheirAddresses) {
  activate();
  ASSERT_EQ(mode(VIRTIO_NET_CTRL_RX_PROMISC, 0), kOk);
  EXPECT_EQ(command(VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_TABLE_SET,
                    bytes_of(std::uint32_t{1}, kStranger, std::uint32_t{1}, kGroup)),
            kOk);
  EXPECT_TRUE(arrives(frame_to(kStranger)));
  EXPECT_TRUE(arrives(frame_to(kGroup)));
  EXPECT_EQ(command(VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_TABLE_SET,
                    bytes_of(std::uint32_t{0}, std::uint32_t{0})),
            kOk);
  EXPECT_FALSE(arrives(frame_to(kStranger)));
  EXPECT_FALSE(arrives(frame_to(kGroup)));
}

// C139, NET-05: counts that are more than fits let in all of their kind; counts that are not there are an
// error.
TEST_F(NetControlTest, MacTableIsBoundedAndItsCountsAreChecked) {
  activate();
  ASSERT_EQ(mode(VIRTIO_NET_CTRL_RX_PROMISC, 0), kOk);
  const auto set = [this](std::uint32_t claimed, std::size_t there, bool second = true) {
    Bytes data = bytes_of(claimed);
    data.resize(data.size() + there * 6, std::byte{2});
    const Bytes none = bytes_of(std::uint32_t{0});
    data.insert(data.end(), none.begin(), second ? none.end() : none.begin());
    return command(VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_TABLE_SET, data);
  };
  EXPECT_EQ(set(64, 64), kOk);
  EXPECT_FALSE(arrives(frame_to(kStranger)));
  EXPECT_EQ(set(65, 65), kOk);
  EXPECT_TRUE(arrives(frame_to(kStranger)));
  EXPECT_EQ(set(0, 0), kOk);
  EXPECT_EQ(set(10000, 10000), kOk);
  EXPECT_TRUE(arrives(frame_to(kStranger)));
  EXPECT_FALSE(arrives(frame_to(kGroup)));
  for (const std::uint32_t claimed : {2U, 64U, 1U << 28U, 0x2AAAAAABU, 0xFFFFFFFFU}) {
    EXPECT_EQ(set(claimed, 1), kError) << claimed;
  }
  EXPECT_EQ(set(1, 1, false), kError);
  EXPECT_EQ(set(0, 1), kError);
  EXPECT_EQ(command(VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_TABLE_SET), kError);
  // None of those changed anything.
  EXPECT_TRUE(arrives(frame_to(kStranger)));
}

// C116
TEST_F(NetControlTest, NewAddressIsInTheConfigurationUntilReset) {
  activate();
  ASSERT_EQ(mode(VIRTIO_NET_CTRL_RX_PROMISC, 0), kOk);
  EXPECT_EQ(command(VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_ADDR_SET, bytes_of(kStranger)), kOk);
  EXPECT_EQ(mac_in_configuration(), kStranger);
  EXPECT_TRUE(arrives(frame_to(kStranger)));
  EXPECT_FALSE(arrives(frame_to(testing::kTestMac)));
  for (const Bytes& wrong : {bytes_of(kGroup), bytes_of(MacAddress{}), Bytes(5), Bytes(7), Bytes()}) {
    EXPECT_EQ(command(VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_ADDR_SET, wrong), kError);
  }
  EXPECT_EQ(mac_in_configuration(), kStranger);
  device_->reset();
  EXPECT_EQ(mac_in_configuration(), testing::kTestMac);
}

// C118
TEST_F(NetControlTest, VlanTableFiltersTaggedFrames) {
  activate();
  ASSERT_EQ(mode(VIRTIO_NET_CTRL_RX_PROMISC, 0), kOk);
  const Bytes frame = frame_to(testing::kTestMac);
  for (const std::uint16_t id : {std::uint16_t{1}, std::uint16_t{4094}, std::uint16_t{4095}}) {
    EXPECT_FALSE(arrives(tagged(frame, id)));
    EXPECT_EQ(command(VIRTIO_NET_CTRL_VLAN, VIRTIO_NET_CTRL_VLAN_ADD, bytes_of(id)), kOk);
    EXPECT_TRUE(arrives(tagged(frame, id)));
    EXPECT_EQ(command(VIRTIO_NET_CTRL_VLAN, VIRTIO_NET_CTRL_VLAN_DEL, bytes_of(id)), kOk);
    EXPECT_FALSE(arrives(tagged(frame, id)));
  }
  EXPECT_TRUE(arrives(tagged(frame, 0)));
  EXPECT_EQ(command(VIRTIO_NET_CTRL_VLAN, VIRTIO_NET_CTRL_VLAN_ADD, bytes_of(std::uint16_t{4096})), kError);
  EXPECT_EQ(command(VIRTIO_NET_CTRL_VLAN, VIRTIO_NET_CTRL_VLAN_ADD, Bytes(1)), kError);
  EXPECT_EQ(command(VIRTIO_NET_CTRL_VLAN, 2, bytes_of(std::uint16_t{1})), kError);
}

// C118
TEST_F(NetControlTest, WithoutTheVlanFeatureAllTagsPass) {
  activate(feature(VIRTIO_NET_F_CTRL_VLAN));
  ASSERT_EQ(mode(VIRTIO_NET_CTRL_RX_PROMISC, 0), kOk);
  EXPECT_TRUE(arrives(tagged(frame_to(testing::kTestMac), 77)));
}

// C119, NET-20: nothing asks the driver to announce itself, and it is not told that it could be.
TEST_F(NetControlTest, NobodyIsAskedToAnnounceItself) {
  activate();
  EXPECT_FALSE(has_feature(device_->features(), VIRTIO_NET_F_GUEST_ANNOUNCE));
  EXPECT_EQ(command(VIRTIO_NET_CTRL_ANNOUNCE, VIRTIO_NET_CTRL_ANNOUNCE_ACK), kError);
  EXPECT_EQ(status_in_configuration(), VIRTIO_NET_S_LINK_UP);
}

// C125
TEST_F(NetControlTest, GuestOffloadsFollowTheDriver) {
  activate();
  const auto set = [this](std::uint64_t offloads) {
    return command(VIRTIO_NET_CTRL_GUEST_OFFLOADS, VIRTIO_NET_CTRL_GUEST_OFFLOADS_SET, bytes_of(offloads));
  };
  EXPECT_EQ(set(feature(VIRTIO_NET_F_GUEST_CSUM) | feature(VIRTIO_NET_F_GUEST_TSO4)), kOk);
  EXPECT_EQ(io_->offloads(), unsigned{TUN_F_CSUM} | TUN_F_TSO4);
  EXPECT_EQ(set(0), kOk);
  EXPECT_EQ(io_->offloads(), 0U);
  // Frames that were on their way when they were switched off.
  driver_->post(8, 4096);
  io_->inject(with_header(
      make_header(VIRTIO_NET_HDR_F_NEEDS_CSUM, VIRTIO_NET_HDR_GSO_TCPV4, 1448, 34, 16, 54), pattern(3000)));
  io_->inject(with_header(make_header(VIRTIO_NET_HDR_F_NEEDS_CSUM, 0, 0, 34, 16), pattern(80)));
  EXPECT_TRUE(arrives(frame_to(testing::kTestMac)));
  EXPECT_EQ(received().dropped.get(), 2U);

  EXPECT_EQ(set(feature(VIRTIO_NET_F_GUEST_TSO4)), kError);  // without GUEST_CSUM
  EXPECT_EQ(set(feature(VIRTIO_NET_F_CTRL_VQ)), kError);     // no offload
  EXPECT_EQ(set(feature(VIRTIO_NET_F_GUEST_UFO)), kError);   // not accepted
  EXPECT_EQ(command(VIRTIO_NET_CTRL_GUEST_OFFLOADS, VIRTIO_NET_CTRL_GUEST_OFFLOADS_SET, Bytes(7)), kError);
  EXPECT_EQ(io_->offloads(), 0U);
  EXPECT_EQ(set(testing::kGuestOffloads), kOk);
  EXPECT_EQ(io_->offloads(), net::kAllTunOffloads);
  io_->refuse_offloads();
  EXPECT_EQ(set(0), kError);
}

// C125, C139: a command needs its feature.
TEST_F(NetControlTest, CommandsOfFeaturesNotAcceptedAreRefused) {
  activate(feature(VIRTIO_NET_F_CTRL_RX) | feature(VIRTIO_NET_F_CTRL_RX_EXTRA) |
           feature(VIRTIO_NET_F_CTRL_VLAN) | feature(VIRTIO_NET_F_CTRL_MAC_ADDR) |
           feature(VIRTIO_NET_F_CTRL_GUEST_OFFLOADS));
  for (std::uint8_t number = 0; number <= VIRTIO_NET_CTRL_RX_NOBCAST; ++number) {
    EXPECT_EQ(mode(number, 0), kError);
  }
  EXPECT_EQ(command(VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_TABLE_SET, Bytes(8)), kError);
  EXPECT_EQ(command(VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_ADDR_SET, bytes_of(kStranger)), kError);
  EXPECT_EQ(command(VIRTIO_NET_CTRL_VLAN, VIRTIO_NET_CTRL_VLAN_ADD, Bytes(2)), kError);
  EXPECT_EQ(command(VIRTIO_NET_CTRL_GUEST_OFFLOADS, VIRTIO_NET_CTRL_GUEST_OFFLOADS_SET, Bytes(8)), kError);
  EXPECT_EQ(mac_in_configuration(), testing::kTestMac);
  EXPECT_TRUE(arrives(tagged(frame_to(kStranger), 5)));
}

// C122, C125, NET-04, NET-06: every class and command that is not there, RSS among them.
TEST_F(NetControlTest, UnknownCommandsAreAnsweredWithAnError) {
  activate();
  unsigned refused = 0;
  for (unsigned command_class = 0; command_class < 256; ++command_class) {
    for (const unsigned number : {0U, 1U, 2U, 6U, 255U}) {
      const bool known = (command_class <= VIRTIO_NET_CTRL_VLAN && number <= 1) || command_class == 0;
      if (!known || number >= 6) {
        ASSERT_EQ(command(static_cast<std::uint8_t>(command_class), static_cast<std::uint8_t>(number),
                          bytes_of(std::uint8_t{0}, std::uint8_t{0}, std::uint8_t{0})),
                  kError)
            << command_class << ", " << number;
        ++refused;
      }
    }
  }
  EXPECT_EQ(control().dropped.get(), refused);
  EXPECT_FALSE(driver_->notifier().needs_reset());
}

// C114
TEST_F(NetControlTest, ModeTakesOneByteThatIsZeroOrOne) {
  activate();
  EXPECT_EQ(command(VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_PROMISC), kError);
  EXPECT_EQ(command(VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_PROMISC, Bytes(2)), kError);
  EXPECT_EQ(mode(VIRTIO_NET_CTRL_RX_PROMISC, 2), kError);
  EXPECT_TRUE(arrives(frame_to(kStranger)));
}

// C14, VQ-21: a command may be cut anywhere, and only the answer's byte is written.
TEST_F(NetControlTest, CommandMayBeCutIntoSingleBytes) {
  activate();
  const Bytes whole =
      bytes_of(std::uint8_t{VIRTIO_NET_CTRL_MAC}, std::uint8_t{VIRTIO_NET_CTRL_MAC_ADDR_SET}, kStranger);
  ASSERT_TRUE(memory_.write(GuestAddress{NetDriver::kCommandBuffer}, whole));
  ChainBuilder chain;
  for (std::size_t i = 0; i < whole.size(); ++i) {
    // Apart, so that they are not merged: every second byte lies elsewhere.
    const std::uint64_t address = NetDriver::kCommandBuffer + i + (i % 2) * 0x100;
    ASSERT_TRUE(memory_.write(GuestAddress{address}, std::span(whole).subspan(i, 1)));
    chain.readable(address, 1);
  }
  ASSERT_TRUE(memory_.write(GuestAddress{NetDriver::kAnswerBuffer}, Bytes(16, std::byte{0xAA})));
  chain.writable(NetDriver::kAnswerBuffer, 16);
  EXPECT_EQ(driver_->command_raw(chain, NetDriver::kAnswerBuffer), kOk);
  EXPECT_EQ(mac_in_configuration(), kStranger);
  std::array<std::byte, 16> answer{};
  ASSERT_TRUE(memory_.read(GuestAddress{NetDriver::kAnswerBuffer}, answer));
  EXPECT_EQ(answer[0], std::byte{VIRTIO_NET_OK});
  EXPECT_TRUE(
      std::all_of(answer.begin() + 1, answer.end(), [](std::byte b) { return b == std::byte{0xAA}; }));
}

// C125, VQ-01: too little of everything.
TEST_F(NetControlTest, MalformedChainsNeverDoMoreThanFail) {
  activate();
  constexpr std::uint64_t kBuffer = NetDriver::kCommandBuffer;
  constexpr std::uint64_t kAnswer = NetDriver::kAnswerBuffer;
  ASSERT_TRUE(memory_.write(GuestAddress{kBuffer}, Bytes(64)));
  const auto run = [this](const ChainBuilder& chain) { return driver_->command_raw(chain, kAnswer); };
  EXPECT_EQ(run(ChainBuilder().writable(kAnswer, 1)), kError);
  EXPECT_EQ(run(ChainBuilder().readable(kBuffer, 1).writable(kAnswer, 1)), kError);
  EXPECT_EQ(run(ChainBuilder().readable(kBuffer, 0).writable(kAnswer, 1)), kError);
  // Nowhere to answer, or no chain at all: used with length 0.
  EXPECT_EQ(run(ChainBuilder().readable(kBuffer, 3)), std::nullopt);
  EXPECT_EQ(run(ChainBuilder().readable(kBuffer, 3).writable(kAnswer, 0)), std::nullopt);
  EXPECT_EQ(run(ChainBuilder().writable(kAnswer, 1).readable(kBuffer, 3)), std::nullopt);
  EXPECT_EQ(run(ChainBuilder().readable(UINT64_MAX - 1, 3).writable(kAnswer, 1)), std::nullopt);
  EXPECT_EQ(control().bad_chains.get(), 4U);
  EXPECT_EQ(mode(VIRTIO_NET_CTRL_RX_PROMISC, 0), kOk);
  EXPECT_FALSE(driver_->notifier().needs_reset());
}

// Any bytes at all: an answer each time, and a device that still works.
TEST_F(NetControlTest, RandomCommandsAreAllAnswered) {
  activate();
  std::mt19937 random(6);
  for (unsigned i = 0; i < 20000; ++i) {
    Bytes data(random() % 80);
    for (std::byte& byte : data) {
      byte = static_cast<std::byte>(random() % 4 == 0 ? random() : random() % 3);
    }
    const auto answer =
        command(static_cast<std::uint8_t>(random() % 8), static_cast<std::uint8_t>(random() % 7), data);
    ASSERT_TRUE(answer == kOk || answer == kError) << i;
  }
  EXPECT_EQ(control().frames.get() + control().dropped.get(), 20000U);
  device_->reset();
  activate();
  EXPECT_TRUE(arrives(frame_to(kStranger)));
}

// C116: filters are of one driver, not of the device.
TEST_F(NetControlTest, ResetForgetsTheFilter) {
  activate();
  ASSERT_EQ(mode(VIRTIO_NET_CTRL_RX_PROMISC, 0), kOk);
  device_->reset();
  activate();
  EXPECT_TRUE(arrives(frame_to(kStranger)));
}

// O6
TEST_F(NetControlTest, BrokenControlQueueAsksForAReset) {
  activate();
  driver_->control_queue().break_ring();
  driver_->force_kicks();
  ASSERT_TRUE(wait_for([this] { return driver_->notifier().needs_reset(); }));
  device_->reset();
  activate();
  EXPECT_EQ(mode(VIRTIO_NET_CTRL_RX_PROMISC, 0), kOk);
}

}  // namespace
}  // namespace tapir::virtio
