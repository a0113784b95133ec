// SPDX-License-Identifier: Apache-2.0
#include "helper/bridge_port.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <sys/ioctl.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <fstream>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "helper/testing/bridge_test.h"
#include "net/testing/network_namespace.h"

namespace tapir::helper {
namespace {

using namespace testing;
using net::testing::make_persistent_tap;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::StartsWith;

// What is true of a port is asked of sysfs and of iproute2, not of the code under test.
class BridgePortTest : public BridgeTest {
 protected:
  static PortRequest request_for(const std::string& bridge) {
    PortRequest request;
    request.bridge = bridge;
    request.owner = kOwner;
    return request;
  }
  static std::string master_of(const std::string& tap) {
    return run("ip -o link show dev " + tap + " | sed -n 's/.* master \\([^ ]*\\) .*/\\1/p'");
  }
};

TEST_F(BridgePortTest, ATapIsAPortOfTheBridgeAndUp) {
  make_bridge("br0");
  const Port port = port_of(request_for("br0"));
  EXPECT_EQ(port.tap, "tap0");
  EXPECT_EQ(sysfs(port.tap, "ifindex"), std::to_string(port.index));
  EXPECT_EQ(master_of(port.tap), "br0\n");
  EXPECT_EQ(sysfs(port.tap, "carrier"), "1");       // which only an interface that is up has
  EXPECT_EQ(sysfs(port.tap, "brport/state"), "3");  // forwarding
  // What nobody asked for is as the bridge has it.
  EXPECT_EQ(sysfs(port.tap, "brport/learning"), "1");
  EXPECT_EQ(sysfs(port.tap, "brport/isolated"), "0");
  EXPECT_THAT(run("bridge -d link show dev " + port.tap), HasSubstr("locked off"));
}

TEST_F(BridgePortTest, ItsDescriptorIsThatTap) {
  make_bridge("br0");
  for (const bool vnet_header : {false, true}) {
    PortRequest request = request_for("br0");
    request.vnet_header = vnet_header;
    const Port port = port_of(request);
    ASSERT_EQ(port.queues.size(), 1U);
    ifreq answer{};
    ASSERT_EQ(::ioctl(port.queues.front().get(), TUNGETIFF, &answer), 0);
    EXPECT_EQ(answer.ifr_name, port.tap);
    EXPECT_EQ(answer.ifr_flags & (IFF_TAP | IFF_NO_PI | IFF_MULTI_QUEUE | IFF_PERSIST), IFF_TAP | IFF_NO_PI);
    EXPECT_EQ((answer.ifr_flags & IFF_VNET_HDR) != 0, vnet_header);
    EXPECT_EQ(::fcntl(port.queues.front().get(), F_GETFD), FD_CLOEXEC);
  }
}

TEST_F(BridgePortTest, BelongsToTheCallerAndSaysSo) {
  make_bridge("br0");
  const Port port = port_of(request_for("br0"));
  ASSERT_TRUE(hand_over(port, kOwner));
  EXPECT_EQ(sysfs(port.tap, "owner"), "1000");
  EXPECT_EQ(sysfs(port.tap, "group"), "-1");
  EXPECT_EQ(sysfs(port.tap, "ifalias"), "tapir: uid 1000 on br0");
}

TEST_F(BridgePortTest, HasTheBridgesMtu) {
  make_bridge("br0", "");
  for (const std::string mtu : {"9000", "1500", "1000", "68", "65521"}) {
    run("ip link set br0 mtu " + mtu);
    const Port port = port_of(request_for("br0"));
    EXPECT_EQ(sysfs(port.tap, "mtu"), mtu);
    EXPECT_EQ(sysfs("br0", "mtu"), mtu);
  }
}

TEST_F(BridgePortTest, AnMtuThatNoTapCanHaveIsNamed) {
  make_bridge("br0");
  run("ip link set br0 mtu 65535");
  EXPECT_EQ(error_of(request_for("br0")),
            "bridge 'br0': a tap cannot have its MTU of 65535; set the bridge's to between 68 and 65521");
  EXPECT_THAT(interfaces(), ElementsAre("br0", "lo"));
}

// HLP-34
TEST_F(BridgePortTest, DoesNotChangeTheBridgesAddress) {
  // One has an address of its own; the other has that of its lowest port, here hardware's.
  make_bridge("br0");
  ASSERT_TRUE(make_persistent_tap("nic"));
  run("ip link add br1 type bridge && ip link set br1 up && ip link set nic address fc:ff:ff:ff:ff:ff master "
      "br1 up");
  for (const auto& [bridge, address] :
       {std::pair{"br0", "02:00:00:00:00:01"}, std::pair{"br1", "fc:ff:ff:ff:ff:ff"}}) {
    ASSERT_EQ(sysfs(bridge, "address"), address);
    for (int i = 0; i < 20; ++i) {
      const Port port = port_of(request_for(bridge));
      EXPECT_EQ(sysfs(port.tap, "address").substr(0, 3), "fe:");
      EXPECT_EQ(sysfs(bridge, "address"), address);
    }
    EXPECT_EQ(sysfs(bridge, "address"), address);
  }
}

TEST_F(BridgePortTest, HasNoIpv6Address) {
  std::ofstream("/proc/sys/net/ipv6/conf/default/disable_ipv6") << "0";
  make_bridge("br0");
  const Port port = port_of(request_for("br0"));
  // The bridge, which was made in the usual way, proves that there could have been one.
  EXPECT_THAT(run("ip -6 -o addr show dev br0"), HasSubstr("fe80::"));
  EXPECT_EQ(run("ip -6 -o addr show dev " + port.tap), "");
  EXPECT_THAT(run("ip -d link show dev " + port.tap), HasSubstr("addrgenmode none"));
}

TEST_F(BridgePortTest, ManyQueuesAreAllThere) {
  make_bridge("br0");
  PortRequest request = request_for("br0");
  request.queues = 4;
  request.vnet_header = true;
  const Port port = port_of(request);
  ASSERT_EQ(port.queues.size(), 4U);
  std::set<int> descriptors;
  for (const UniqueFd& queue : port.queues) {
    ifreq answer{};
    ASSERT_EQ(::ioctl(queue.get(), TUNGETIFF, &answer), 0);
    EXPECT_EQ(answer.ifr_name, port.tap);
    EXPECT_EQ(answer.ifr_flags & (IFF_MULTI_QUEUE | IFF_VNET_HDR), IFF_MULTI_QUEUE | IFF_VNET_HDR);
    descriptors.insert(queue.get());
  }
  EXPECT_EQ(descriptors.size(), 4U);
  EXPECT_THAT(run("ip -d -j link show dev " + port.tap),
              AllOf(HasSubstr("\"numqueues\":4"), HasSubstr("\"numdisabled\":0")));
}

TEST_F(BridgePortTest, VanishesWithItsLastDescriptor) {
  make_bridge("br0");
  for (const unsigned queues : {1U, 3U}) {
    PortRequest request = request_for("br0");
    request.queues = queues;
    Port port = port_of(request);
    EXPECT_THAT(interfaces(), ElementsAre("br0", "lo", "tap0"));
    while (!port.queues.empty()) {
      EXPECT_NE(::if_nametoindex("tap0"), 0U);
      port.queues.pop_back();
    }
    EXPECT_THAT(interfaces(), ElementsAre("br0", "lo"));
  }
}

TEST_F(BridgePortTest, WorksOnABridgeThatIsDown) {
  make_bridge("br0");
  run("ip link set br0 down");
  const Port port = port_of(request_for("br0"));
  EXPECT_EQ(master_of(port.tap), "br0\n");
}

TEST_F(BridgePortTest, ABridgeThatIsNotThereIsNamed) {
  EXPECT_EQ(
      error_of(request_for("br0")),
      "bridge 'br0': there is none of this name; `ip link show type bridge` lists those that are there");
}

// HLP-14
TEST_F(BridgePortTest, AnInterfaceThatIsNoBridgeIsNamed) {
  run("ip link add veth0 type veth peer name veth1");
  ASSERT_TRUE(make_persistent_tap("t0"));
  for (const std::string name : {"lo", "veth0", "t0"}) {
    EXPECT_EQ(error_of(request_for(name)),
              "bridge '" + name +
                  "': this interface is no bridge; `ip link show type bridge` lists those that are there");
  }
}

TEST_F(BridgePortTest, APortOfABridgeIsNoBridge) {
  make_bridge("br0");
  const Port port = port_of(request_for("br0"));
  EXPECT_THAT(error_of(request_for(port.tap)), HasSubstr("is no bridge"));
}

TEST_F(BridgePortTest, AnAlternativeNameIsNotTheName) {
  make_bridge("br0");
  run("ip link property add dev br0 altname lan");
  EXPECT_EQ(error_of(request_for("lan")),
            "bridge 'lan': this is only another name of bridge 'br0'; use that one");
}

// HLP-12, HLP-01
TEST_F(BridgePortTest, NoNameIsCutOrTakenForAPattern) {
  make_bridge("br0");
  make_bridge("exactly-fifteen");
  for (const std::string& name :
       {std::string("exactly-fifteen!"), std::string("exactly-fifteen") + std::string(4081, 'x'),
        std::string(), std::string("br%d"), std::string("br0 "), std::string(" br0"), std::string("./br0"),
        std::string("br0/"), std::string(".."), std::string("br0\0", 4), std::string("\xC3\xA9"),
        std::string("BR0"), std::string("br0\n")}) {
    EXPECT_NE(error_of(request_for(name)), "no error") << name;
    EXPECT_THAT(interfaces(), ElementsAre("br0", "exactly-fifteen", "lo"));
  }
  EXPECT_EQ(master_of(port_of(request_for("exactly-fifteen")).tap), "exactly-fifteen\n");
}

TEST_F(BridgePortTest, NothingIsMadeWithoutTheCapability) {
  make_bridge("br0");
  as_user(kOwner, [] {
    EXPECT_THAT(error_of(request_for("br0")),
                AllOf(StartsWith("bridge 'br0': "), HasSubstr("CAP_NET_ADMIN")));
  });
  EXPECT_THAT(interfaces(), ElementsAre("br0", "lo"));
}

TEST_F(BridgePortTest, ALimitCountsTheTapsThatAreThere) {
  make_bridge("br0");
  PortRequest request = request_for("br0");
  request.policy.limit = 2;
  std::optional<Port> first = port_of(request);
  const Port second = port_of(request);
  EXPECT_NE(first->tap, second.tap);
  EXPECT_EQ(error_of(request),
            "bridge 'br0': uid 1000 has as many taps on it as its limit of 2 allows; end one of its guests, "
            "or raise "
            "the limit");
  const std::string name = first->tap;
  first.reset();
  EXPECT_EQ(port_of(request).tap, name);
}

TEST_F(BridgePortTest, ALimitIsForEachUserAndEachBridge) {
  make_bridge("br0");
  make_bridge("br1");
  std::vector<Port> ports;
  for (const uid_t owner : {kOwner, kStranger, uid_t{0}}) {
    for (const std::string bridge : {"br0", "br1"}) {
      PortRequest request = request_for(bridge);
      request.owner = owner;
      request.policy.limit = 1;
      ports.push_back(port_of(request));
      EXPECT_THAT(error_of(request), HasSubstr("its limit of 1"));
    }
  }
}

TEST_F(BridgePortTest, ALimitHoldsForManyQueuesToo) {
  make_bridge("br0");
  PortRequest request = request_for("br0");
  request.queues = 3;
  request.policy.limit = 1;
  const Port port = port_of(request);
  EXPECT_EQ(port.queues.size(), 3U);
  EXPECT_THAT(error_of(request), HasSubstr("its limit of 1"));
}

TEST_F(BridgePortTest, ALimitOfNoneAllowsNone) {
  make_bridge("br0");
  PortRequest request = request_for("br0");
  request.policy.limit = 0;
  EXPECT_THAT(error_of(request), HasSubstr("its limit of 0"));
  request.policy.limit = 5000;
  EXPECT_THAT(error_of(request), HasSubstr("set at most 4096"));
}

TEST_F(BridgePortTest, ALimitOutlivesTheBridgesName) {
  make_bridge("br0");
  PortRequest request = request_for("br0");
  request.policy.limit = 1;
  const Port port = port_of(request);
  run("ip link set br0 down && ip link set br0 name lan");
  request.bridge = "lan";
  EXPECT_THAT(error_of(request), HasSubstr("its limit of 1"));
  // A bridge that was made anew has no taps.
  run("ip link del lan");
  make_bridge("lan");
  EXPECT_EQ(error_of(request), "no error");
}

TEST_F(BridgePortTest, ALimitHoldsExactlyWhenManyAskAtOnce) {
  make_bridge("br0");
  PortRequest request = request_for("br0");
  request.policy.limit = 3;
  constexpr std::size_t kCallers = 16;
  std::vector<Port> ports(kCallers);
  std::vector<int> codes(kCallers);
  std::vector<std::thread> threads;
  for (std::size_t i = 0; i < kCallers; ++i) {
    threads.emplace_back([&, i] {
      auto port = make_port(request);
      codes[i] = port ? 0 : port.error().code();
      ports[i] = port ? *std::move(port) : Port{};
    });
  }
  for (std::thread& thread : threads) {
    thread.join();
  }
  EXPECT_EQ(std::count(codes.begin(), codes.end(), 0), 3);
  EXPECT_EQ(std::count(codes.begin(), codes.end(), EUSERS), 13);
}

// The owner may attach to his tap, and do what the holder of a descriptor may, but it stays one tap.
TEST_F(BridgePortTest, TheOwnerCannotGetPastALimitWithADescriptor) {
  make_bridge("br0");
  PortRequest request = request_for("br0");
  request.policy.limit = 1;
  const Port port = port_of(request);
  as_user(kOwner, [&port] {
    const int fd = port.queues.front().get();
    EXPECT_EQ(::ioctl(fd, TUNSETPERSIST, 1), 0);
    EXPECT_EQ(::ioctl(fd, TUNSETOWNER, static_cast<unsigned long>(kStranger)), 0);
    ifreq rename{};
    port.tap.copy(rename.ifr_name, IFNAMSIZ - 1);
    rename.ifr_newname[0] = 'x';
    EXPECT_EQ(::ioctl(fd, SIOCSIFNAME, &rename), -1);
    const UniqueFd socket(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    EXPECT_EQ(::ioctl(socket.get(), SIOCSIFNAME, &rename), -1);
    EXPECT_EQ(errno, EPERM);
  });
  EXPECT_THAT(error_of(request), HasSubstr("its limit of 1"));
}

// HLP-13
TEST_F(BridgePortTest, ABridgeThatWasRenamedMeanwhileGetsNoPort) {
  make_bridge("br0");
  make_bridge("br1");
  Netlink netlink = Netlink::open().value();
  const LinkState bridge = find_bridge(netlink, "br0").value();
  std::optional<ExclusiveTap> tap = open_tap(netlink, request_for("br0"), bridge).value();
  run("ip link set br0 down && ip link set br0 name secret && ip link set br1 down && ip link set br1 name "
      "br0");
  const auto joined = join_bridge(netlink, tap->link.index, bridge, request_for("br0"));
  ASSERT_FALSE(joined);
  EXPECT_EQ(joined.error().code(), ESTALE);
  EXPECT_EQ(run("ip -o link show up dev " + tap->link.name), "");
  tap.reset();
  EXPECT_THAT(interfaces(), ElementsAre("br0", "lo", "secret"));
}

TEST_F(BridgePortTest, ABridgeThatWasDeletedMeanwhileGetsNoPort) {
  make_bridge("br0");
  Netlink netlink = Netlink::open().value();
  const LinkState bridge = find_bridge(netlink, "br0").value();
  std::optional<ExclusiveTap> tap = open_tap(netlink, request_for("br0"), bridge).value();
  run("ip link del br0");
  make_bridge("br0");
  EXPECT_FALSE(join_bridge(netlink, tap->link.index, bridge, request_for("br0")));
  tap.reset();
  EXPECT_THAT(interfaces(), ElementsAre("br0", "lo"));
}

TEST_F(BridgePortTest, ItsOwnerCanAttachOnlyOnceItIsHandedOver) {
  make_bridge("br0");
  PortRequest request = request_for("br0");
  request.queues = 2;
  const Port port = port_of(request);
  as_user(kOwner, [&] { EXPECT_EQ(attach_queue(port.tap).error().code(), EPERM); });
  ASSERT_TRUE(hand_over(port, kOwner));
  EXPECT_EQ(sysfs(port.tap, "owner"), std::to_string(kOwner));
  as_user(kOwner, [&] { EXPECT_TRUE(attach_queue(port.tap)); });
  as_user(kStranger, [&] { EXPECT_EQ(attach_queue(port.tap).error().code(), EPERM); });
}

}  // namespace
}  // namespace tapir::helper
