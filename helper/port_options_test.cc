// SPDX-License-Identifier: Apache-2.0
#include "helper/port_options.h"

#include <gmock/gmock.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <sys/ioctl.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>

#include "helper/testing/bridge_test.h"

namespace tapir::helper {
namespace {

using namespace testing;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

TEST(CheckPort, WhatTheKernelIgnoredIsRefused) {
  const PortPolicy isolate{.limit = {}, .isolate = true, .lock = false, .vlan = {}};
  const PortPolicy lock{.limit = {}, .isolate = false, .lock = true, .vlan = {}};
  EXPECT_TRUE(check_port({}, {}));
  EXPECT_TRUE(check_port({.learning = true, .isolated = true, .locked = {}}, isolate));
  EXPECT_TRUE(check_port({.learning = false, .isolated = {}, .locked = true}, lock));
  for (const auto isolated : {std::optional<bool>(), std::optional(false)}) {
    const auto status = check_port({.learning = false, .isolated = isolated, .locked = true}, isolate);
    ASSERT_FALSE(status);
    EXPECT_THAT(status.error().message(), HasSubstr("Linux 4.18"));
  }
  for (const auto& port : {PortState{.learning = false, .isolated = true, .locked = {}},
                           PortState{.learning = false, .isolated = true, .locked = false},
                           PortState{.learning = true, .isolated = true, .locked = true}}) {
    const auto status = check_port(port, lock);
    ASSERT_FALSE(status);
    EXPECT_THAT(status.error().message(), HasSubstr("Linux 5.18"));
  }
}

// Ports and the frames that pass between them. The host is another participant, behind the bridge itself.
class PortOptionsTest : public BridgeTest {
 protected:
  void SetUp() override {
    BridgeTest::SetUp();
    if (IsSkipped() || HasFatalFailure()) {
      return;
    }
    make_bridge("br0");
  }
  static PortRequest isolated() {
    PortRequest request{.bridge = "br0", .owner = kOwner, .guest_mac = {}, .policy = {}};
    request.policy.isolate = true;
    return request;
  }
  static PortRequest locked_to(const net::MacAddress& guest) {
    PortRequest request{.bridge = "br0", .owner = kOwner, .guest_mac = guest, .policy = {}};
    request.policy.lock = true;
    return request;
  }
  static PortRequest plain() { return {.bridge = "br0", .owner = kOwner, .guest_mac = {}, .policy = {}}; }
  // What its user can do to his tap without a privilege.
  static void set_address(const Port& port, const net::MacAddress& address) {
    as_user(kOwner, [&] {
      ifreq request{};
      request.ifr_hwaddr.sa_family = ARPHRD_ETHER;
      std::copy(address.octets.begin(), address.octets.end(), request.ifr_hwaddr.sa_data);
      EXPECT_EQ(::ioctl(port.queues.front().get(), SIOCSIFHWADDR, &request), 0) << errno;
    });
  }
  // The frames of a locked guest get lost from now on: the kernel has forgotten where it is.
  static void rob(const Port& thief, const net::MacAddress& guest) {
    set_address(thief, guest);
    set_address(thief, guest_address(99));
    EXPECT_EQ(entry_of(guest), "");
  }
  static std::string entry_of(const net::MacAddress& guest) {
    return run("bridge fdb show br br0 | sed -n 's/^" + guest.to_string() + " //p'");
  }
};

TEST_F(PortOptionsTest, IsolatedPortsDoNotReachEachOther) {
  const Port first = port_of(isolated());
  const Port second = port_of(isolated());
  const Port other = port_of(plain());
  EXPECT_EQ(sysfs(first.tap, "brport/isolated"), "1");
  EXPECT_EQ(sysfs(other.tap, "brport/isolated"), "0");
  // The bridge learns who is where.
  send_frame(first, make_frame(kBroadcast, guest_address(1), 0));
  send_frame(second, make_frame(kBroadcast, guest_address(2), 0));
  EXPECT_TRUE(receive_frame(other));
  EXPECT_TRUE(receive_frame(other));

  send_frame(first, make_frame(kBroadcast, guest_address(1), 1));
  send_frame(first, make_frame(guest_address(2), guest_address(1), 2));
  send_frame(second, make_frame(guest_address(1), guest_address(2), 3));
  const Frame later = make_frame(kBroadcast, guest_address(3), 4);
  send_frame(other, later);
  EXPECT_EQ(receive_frame(first), later);
  EXPECT_EQ(receive_frame(second), later);
}

TEST_F(PortOptionsTest, IsolatedPortsReachTheHostAndOtherPorts) {
  const Port port = port_of(isolated());
  const Port other = port_of(plain());
  const Host host("br0");
  const Frame outward = make_frame(kBroadcast, guest_address(1), 1);
  send_frame(port, outward);
  EXPECT_EQ(receive_frame(other), outward);
  EXPECT_EQ(host.receive(), outward);
  const Frame from_host = make_frame(guest_address(1), guest_address(9), 2);
  host.send(from_host);
  EXPECT_EQ(receive_frame(port), from_host);
  const Frame from_other = make_frame(guest_address(1), guest_address(2), 3);
  send_frame(other, from_other);
  EXPECT_EQ(receive_frame(port), from_other);
}

TEST_F(PortOptionsTest, ALockedPortIsSetUpAsTheKernelWantsIt) {
  const Port port = port_of(locked_to(guest_address(1)));
  EXPECT_EQ(sysfs(port.tap, "brport/learning"), "0");
  EXPECT_THAT(run("bridge -d link show dev " + port.tap),
              AllOf(HasSubstr("locked on"), HasSubstr("learning off")));
  EXPECT_THAT(entry_of(guest_address(1)),
              AllOf(HasSubstr("dev " + port.tap + " "), HasSubstr("static"), HasSubstr("sticky")));
}

TEST_F(PortOptionsTest, ALockedGuestSendsFromItsOwnAddressOnly) {
  const Port port = port_of(locked_to(guest_address(1)));
  const Port neighbour = port_of(locked_to(guest_address(2)));
  const Host host("br0");
  // The neighbour's, the host's, one that nobody has, and none.
  for (const auto& source : {guest_address(2), *net::MacAddress::parse("02:00:00:00:00:01"), guest_address(3),
                             net::MacAddress{}}) {
    send_frame(port, make_frame(kBroadcast, source, 1));
    send_frame(port, make_frame(guest_address(2), source, 2));
  }
  // This is the first that anybody gets.
  const Frame honest = make_frame(kBroadcast, guest_address(1), 3);
  send_frame(port, honest);
  EXPECT_EQ(receive_frame(neighbour), honest);
  EXPECT_EQ(host.receive(), honest);
  EXPECT_THAT(entry_of(guest_address(2)), HasSubstr("dev " + neighbour.tap + " "));
}

TEST_F(PortOptionsTest, ALockedGuestGetsItsFrames) {
  const Port port = port_of(locked_to(guest_address(1)));
  const Port neighbour = port_of(locked_to(guest_address(2)));
  const Frame frame = make_frame(guest_address(1), guest_address(2), 1);
  send_frame(neighbour, frame);
  EXPECT_EQ(receive_frame(port), frame);
}

TEST_F(PortOptionsTest, APortWithoutALockCannotTakeALockedAddress) {
  const Port port = port_of(locked_to(guest_address(1)));
  const Port thief = port_of(plain());
  const Port third = port_of(plain());
  send_frame(thief, make_frame(kBroadcast, guest_address(1), 1));
  EXPECT_THAT(entry_of(guest_address(1)), HasSubstr("dev " + port.tap + " "));
  EXPECT_TRUE(receive_frame(port));  // the thief's
  EXPECT_TRUE(receive_frame(third));
  const Frame frame = make_frame(guest_address(1), guest_address(3), 2);
  send_frame(third, frame);
  EXPECT_EQ(receive_frame(port), frame);
  const Frame later = make_frame(kBroadcast, guest_address(3), 3);
  send_frame(third, later);
  EXPECT_EQ(receive_frame(thief), later);
}

TEST_F(PortOptionsTest, AnAddressIsLockedOnce) {
  std::optional<Port> port = port_of(locked_to(guest_address(1)));
  const std::string refusal =
      "bridge 'br0': the guest's address 52:54:00:00:00:01 is known there on another port; give the guest "
      "another, or "
      "end the machine that uses it";
  EXPECT_EQ(error_of(locked_to(guest_address(1))), refusal);
  EXPECT_THAT(interfaces(), ElementsAre("br0", "lo", port->tap));
  port.reset();
  EXPECT_EQ(error_of(locked_to(guest_address(1))), "no error");
}

TEST_F(PortOptionsTest, WhoRobsALockedGuestOfItsAddressDoesNotGetIt) {
  std::optional<Port> port = port_of(locked_to(guest_address(1)));
  std::optional<Port> thief = port_of(locked_to(guest_address(2)));
  rob(*thief, guest_address(1));
  EXPECT_THAT(error_of(locked_to(guest_address(1))), HasSubstr("known there on another port"));
  send_frame(*thief, make_frame(kBroadcast, guest_address(1), 1));
  thief.reset();
  EXPECT_THAT(error_of(locked_to(guest_address(1))), HasSubstr("known there on another port"));
  const Frame later = make_frame(kBroadcast, guest_address(3), 2);
  send_frame(port_of(plain()), later);
  EXPECT_EQ(receive_frame(*port), later);  // so nothing was sent in its name
  port.reset();
  EXPECT_EQ(error_of(locked_to(guest_address(1))), "no error");
}

TEST_F(PortOptionsTest, WhoRobsALockedGuestOfItsAddressDoesNotGetItsFrames) {
  const Port port = port_of(locked_to(guest_address(1)));
  const Port thief = port_of(locked_to(guest_address(2)));
  const Port other = port_of(plain());
  rob(thief, guest_address(1));
  send_frame(other, make_frame(guest_address(1), guest_address(3), 1));
  const Frame later = make_frame(kBroadcast, guest_address(3), 2);
  send_frame(other, later);
  EXPECT_EQ(receive_frame(thief), later);
}

TEST(ReservationName, IsOneForEachAddressOfEachBridge) {
  EXPECT_EQ(reservation_name(7, guest_address(1)), "tapir-7-525400000001");
  EXPECT_EQ(reservation_name(12, guest_address(255)), "tapir-12-5254000000ff");
}

TEST_F(PortOptionsTest, AnAddressThatTheBridgeHasLearnedElsewhereIsNotLocked) {
  const Port user = port_of(plain());
  send_frame(user, make_frame(kBroadcast, guest_address(1), 1));
  EXPECT_THAT(error_of(locked_to(guest_address(1))), HasSubstr("known there on another port"));
  EXPECT_THAT(entry_of(guest_address(1)), HasSubstr("dev " + user.tap + " "));
}

TEST_F(PortOptionsTest, OnlyAGuestsAddressCanBeLocked) {
  const auto error_for = [](const char* text) { return error_of(locked_to(*net::MacAddress::parse(text))); };
  EXPECT_EQ(
      error_for("53:54:00:00:00:01"),
      "bridge 'br0': the guest's address 53:54:00:00:00:01 is a multicast one; give it one that begins with "
      "52:54:00");
  EXPECT_THAT(error_for("ff:ff:ff:ff:ff:ff"), HasSubstr("multicast"));
  for (const char* other :
       {"02:00:00:00:00:01", "52:54:01:00:00:01", "52:55:00:00:00:01", "00:00:00:00:00:00"}) {
    EXPECT_THAT(error_for(other), HasSubstr("not allowed on it; give it one that begins with 52:54:00"));
  }
  run("ip link set br0 address 52:54:00:00:00:07");
  EXPECT_EQ(
      error_for("52:54:00:00:00:07"),
      "bridge 'br0': the guest's address 52:54:00:00:00:07 is the bridge's own; give the guest another");
  PortRequest unknown = locked_to({});
  unknown.guest_mac.reset();
  EXPECT_EQ(error_of(unknown),
            "bridge 'br0': each guest on it is locked to one address, and this one's is not known; give it "
            "with --mac");
  EXPECT_THAT(interfaces(), ElementsAre("br0", "lo"));
}

TEST_F(PortOptionsTest, WithoutALockTheAddressIsTheGuestsOwnAffair) {
  PortRequest request = plain();
  request.guest_mac = kBroadcast;
  EXPECT_EQ(error_of(request), "no error");
}

TEST_F(PortOptionsTest, AVlanNeedsABridgeThatLooksAtVlans) {
  PortRequest request = plain();
  request.policy.vlan = 10;
  EXPECT_EQ(
      error_of(request),
      "bridge 'br0': taps on it belong to VLAN 10, but it does not look at VLANs; turn that on with `ip link "
      "set br0 type bridge vlan_filtering 1`");
  EXPECT_THAT(interfaces(), ElementsAre("br0", "lo"));
}

class PortVlanTest : public PortOptionsTest {
 protected:
  void SetUp() override {
    PortOptionsTest::SetUp();
    if (IsSkipped() || HasFatalFailure()) {
      return;
    }
    if (sysfs("br0", "bridge/vlan_filtering") == "none") {
      GTEST_SKIP() << "this kernel's bridges have no VLANs (CONFIG_BRIDGE_VLAN_FILTERING)";
    }
    run("ip link set br0 type bridge vlan_filtering 1");
  }
  static PortRequest in_vlan(std::uint16_t vlan, PortRequest request = plain()) {
    request.policy.vlan = vlan;
    return request;
  }
  static std::string vlans_of(const Port& port) { return run("bridge -j vlan show dev " + port.tap); }
  static std::string only(const Port& port, unsigned vlan) {
    return "[{\"ifname\":\"" + port.tap + "\",\"vlans\":[{\"vlan\":" + std::to_string(vlan) +
           ",\"flags\":[\"PVID\",\"Egress Untagged\"]}]}]\n";
  }
};

TEST_F(PortVlanTest, APortIsInItsVlanOnly) {
  for (const std::uint16_t vlan : std::to_array<std::uint16_t>({1, 2, 3, 10, 4092, 4093, 4094})) {
    const Port port = port_of(in_vlan(vlan));
    EXPECT_EQ(vlans_of(port), only(port, vlan));
  }
  run("ip link set br0 type bridge vlan_default_pvid 7");
  const Port port = port_of(in_vlan(10));
  EXPECT_EQ(vlans_of(port), only(port, 10));
  const Port other = port_of(plain());
  EXPECT_EQ(vlans_of(other), only(other, 7));
}

TEST_F(PortVlanTest, FramesStayInTheirVlan) {
  const Port first = port_of(in_vlan(10));
  const Port second = port_of(in_vlan(10));
  const Port other = port_of(in_vlan(20));
  const Port in_same_vlan = port_of(in_vlan(20));
  const Port none = port_of(plain());
  const Port with_none = port_of(plain());
  const Frame frame = make_frame(kBroadcast, guest_address(1), 1);
  send_frame(first, frame);
  EXPECT_EQ(receive_frame(second), frame);
  for (const auto& [receiver, sender] : {std::pair{&other, &in_same_vlan}, std::pair{&none, &with_none}}) {
    const Frame later = make_frame(kBroadcast, guest_address(2), 2);
    send_frame(*sender, later);
    EXPECT_EQ(receive_frame(*receiver), later);
  }
}

TEST_F(PortVlanTest, ALockHoldsInItsVlan) {
  const Port port = port_of(in_vlan(10, locked_to(guest_address(1))));
  const Port second = port_of(in_vlan(10, locked_to(guest_address(2))));
  EXPECT_THAT(entry_of(guest_address(1)), HasSubstr("dev " + port.tap + " vlan 10 "));
  EXPECT_THAT(error_of(in_vlan(10, locked_to(guest_address(1)))), HasSubstr("known there on another port"));
  // In another VLAN too: the rule may have changed while the first guest runs.
  EXPECT_THAT(error_of(in_vlan(20, locked_to(guest_address(1)))), HasSubstr("known there on another port"));

  send_frame(port, make_frame(kBroadcast, guest_address(2), 1));
  send_frame(port, make_frame(kBroadcast, guest_address(3), 1));
  const Frame frame = make_frame(kBroadcast, guest_address(1), 2);
  send_frame(port, frame);
  EXPECT_EQ(receive_frame(second), frame);
}

TEST_F(PortVlanTest, ALockHoldsInTheBridgesDefaultVlan) {
  const Port port = port_of(locked_to(guest_address(1)));
  const Port second = port_of(locked_to(guest_address(2)));
  EXPECT_THAT(error_of(locked_to(guest_address(1))), HasSubstr("known there on another port"));
  for (const char* filtering : {"1", "0", "1"}) {
    run(std::string("ip link set br0 type bridge vlan_filtering ") + filtering);
    send_frame(port, make_frame(kBroadcast, guest_address(2), 1));
    const Frame frame = make_frame(kBroadcast, guest_address(1), 2);
    send_frame(port, frame);
    EXPECT_EQ(receive_frame(second), frame);
  }
}

}  // namespace
}  // namespace tapir::helper
