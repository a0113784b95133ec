// SPDX-License-Identifier: Apache-2.0
#include "vmm/host_network.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <fstream>
#include <string>
#include <utility>

#include "net/base/log.h"
#include "net/tap.h"
#include "net/testing/helper_directory.h"
#include "net/testing/network_namespace.h"

namespace tapir::vmm {
namespace {

using net::testing::HelperDirectory;
using ::testing::AllOf;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

using ::testing::StartsWith;

TEST(DefaultMacTest, StaysTheSameForANamedMachine) {
  const net::MacAddress mac = default_mac("web1", 0);
  EXPECT_EQ(mac, default_mac("web1", 0));
  EXPECT_NE(mac, default_mac("web1", 1));
  EXPECT_NE(mac, default_mac("web2", 0));
  EXPECT_THAT(mac.to_string(), StartsWith("52:54:00:"));
}

TEST(DefaultMacTest, IsRandomForANamelessMachine) {
  const net::MacAddress mac = default_mac("", 0);
  EXPECT_NE(mac, default_mac("", 0));
  EXPECT_THAT(mac.to_string(), StartsWith("52:54:00:"));
}

class HostNetworkTest : public ::testing::Test {
 protected:
  void SetUp() override { TAPIR_ENTER_NETWORK_NAMESPACE(); }

  /// A NIC on the tap that a fake helper makes.
  static NicConfig bridge_nic(const std::string& helper) {
    NicConfig nic;
    nic.option = "-net nic";
    nic.backend.emplace().option = "-net bridge,br=br7";
    nic.backend->bridge = BridgeConfig{"br7", helper, {}};
    return nic;
  }
  /// The same with a down-helper, which writes down its arguments and whether the tap is there.
  NicConfig nic_with_down_helper(const std::string& helper) const {
    NicConfig nic = bridge_nic(helper);
    nic.backend->bridge->down_command = {down_helper_, "a b"};
    return nic;
  }
  std::vector<std::string> down_helper_runs() const {
    std::ifstream file(down_helper_ + ".log");
    std::vector<std::string> lines;
    for (std::string line; std::getline(file, line);) {
      lines.push_back(line);
    }
    return lines;
  }

  static MachineConfig machine(std::vector<NicConfig> nics) {
    MachineConfig config;
    config.name = "web1";
    config.nics = std::move(nics);
    return config;
  }
  static std::string refusal(const MachineConfig& config) {
    const auto network = HostNetwork::open(config);
    return network ? "no error" : network.error().message();
  }

  HelperDirectory helpers_;

 private:
  const std::string down_helper_ = helpers_.script("down",
                                                   "#!/bin/sh\n"
                                                   "tap=${3#--ifname=}\n"
                                                   "there=gone\n"
                                                   "[ ! -e \"/sys/class/net/$tap\" ] || there=there\n"
                                                   "echo \"$1|$2|$3|$# $there\" >> \"$0.log\"\n");
};

TEST_F(HostNetworkTest, TapComesFromTheHelper) {
  const std::string helper = helpers_.fake("tap");
  auto network = HostNetwork::open(machine({bridge_nic(helper)}));
  ASSERT_TRUE(network) << network.error().message();
  ASSERT_EQ(network->nics.size(), 1U);
  EXPECT_TRUE(network->nics[0].ports.front().is_tap);
  EXPECT_TRUE(network->nics[0].ports.front().features.vnet_header);
  EXPECT_EQ(network->broker, nullptr);
  EXPECT_THAT(HelperDirectory::report(helper, "argument"),
              ElementsAre(helper, "--use-vnet", "--fd=3", "--br=br7"));
  ASSERT_TRUE(network->start());
  EXPECT_TRUE(network->nics[0].io.front()->features().vnet_header);
}

TEST_F(HostNetworkTest, HelperOfTapirIsToldTheAddressThatTheNicHas) {
  const std::string helper = helpers_.fake("tapir+tap");
  NicConfig given = bridge_nic(helper);
  given.mac = net::MacAddress::parse("52:54:00:00:00:09");
  const auto network = HostNetwork::open(machine({given, bridge_nic(helper)}));
  ASSERT_TRUE(network) << network.error().message();
  EXPECT_EQ(network->nics[0].mac, *given.mac);
  EXPECT_EQ(network->nics[1].mac, default_mac("web1", 1));
  EXPECT_THAT(
      HelperDirectory::report(helper, "argument"),
      AllOf(Contains("--mac=52:54:00:00:00:09"), Contains("--mac=" + default_mac("web1", 1).to_string())));
}

TEST_F(HostNetworkTest, FurtherQueuesAreKeptDetached) {
  NicConfig nic = bridge_nic(helpers_.fake("tapir+queues"));
  nic.backend->queues = 3;
  const auto network = HostNetwork::open(machine({nic}));
  ASSERT_TRUE(network) << network.error().message();
  const auto& ports = network->nics[0].ports;
  ASSERT_EQ(ports.size(), 3U);
  EXPECT_FALSE(net::Tap::detach_queue(ports[1].fd.get()));  // it is already
  EXPECT_FALSE(net::Tap::detach_queue(ports[2].fd.get()));
  EXPECT_TRUE(net::Tap::detach_queue(ports[0].fd.get()));
}

TEST_F(HostNetworkTest, EveryQueueOfAMultiQueueNicHasAThread) {
  NicConfig nic = bridge_nic(helpers_.fake("tapir+queues"));
  nic.backend->queues = 3;
  for (const bool multi_queue : {true, false}) {
    nic.multi_queue = multi_queue;
    auto network = HostNetwork::open(machine({nic}));
    ASSERT_TRUE(network) << network.error().message();
    const Status started = network->start();
    ASSERT_TRUE(started) << started.error().message();
    EXPECT_EQ(network->nics[0].io.size(), multi_queue ? 3U : 1U);
  }
}

TEST_F(HostNetworkTest, ErrorsBeginWithTheOptionAtFault) {
  EXPECT_THAT(refusal(machine({bridge_nic(helpers_.fake("words+exit1"))})),
              AllOf(StartsWith("-net bridge,br=br7: bridge 'br7': the helper '"),
                    HasSubstr("exited with status 1"), HasSubstr("ask root")));
  NicConfig nic;
  nic.backend.emplace().option = "-netdev tap,id=n0,ifname=lo";
  nic.backend->ifname = "lo";
  EXPECT_THAT(refusal(machine({nic})), StartsWith("-netdev tap,id=n0,ifname=lo: interface 'lo' is no tap"));
}

TEST_F(HostNetworkTest, TapsByNameAndDescriptorNeedNoHelper) {
  ASSERT_TRUE(net::testing::make_persistent_tap("t0"));
  NicConfig by_name;
  by_name.backend.emplace().ifname = "t0";
  by_name.backend->vnet_header = false;
  UniqueFd fd(::open("/dev/net/tun", O_RDWR));
  ifreq request{};
  std::string("t1").copy(request.ifr_name, IFNAMSIZ - 1);
  request.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR;
  ASSERT_EQ(::ioctl(fd.get(), TUNSETIFF, &request), 0);
  ASSERT_TRUE(net::testing::set_link_up("t1", true));
  NicConfig by_descriptor;
  by_descriptor.backend.emplace().fds = {fd.release()};
  auto network = HostNetwork::open(machine({by_name, by_descriptor}));
  ASSERT_TRUE(network) << network.error().message();
  EXPECT_FALSE(network->nics[0].ports.front().features.vnet_header);
  EXPECT_TRUE(network->nics[1].ports.front().features.vnet_header);
  EXPECT_EQ(network->broker, nullptr);
}

TEST_F(HostNetworkTest, DownHelperRunsAtTheEndWhileTheTapIsThere) {
  {
    auto network = HostNetwork::open(machine({nic_with_down_helper(helpers_.fake("tap"))}));
    ASSERT_TRUE(network) << network.error().message();
    ASSERT_TRUE(network->start());
    EXPECT_THAT(down_helper_runs(), IsEmpty());
  }
  EXPECT_THAT(down_helper_runs(), ElementsAre("a b|--br=br7|--ifname=tap0|3 there"));
}

TEST_F(HostNetworkTest, DownHelpersOfTapsRunWhenALaterNicFails) {
  const std::string good = helpers_.fake("tap");
  EXPECT_THAT(refusal(machine({nic_with_down_helper(good), nic_with_down_helper(good),
                               nic_with_down_helper(helpers_.fake("exit1"))})),
              HasSubstr("exited with status 1"));
  EXPECT_THAT(down_helper_runs(),
              ElementsAre("a b|--br=br7|--ifname=tap0|3 there", "a b|--br=br7|--ifname=tap1|3 there"));
  EXPECT_TRUE(net::testing::has_no_children());
}

TEST_F(HostNetworkTest, DownHelperThatCannotBeKeptForTheEndIsAnError) {
  NicConfig nic = nic_with_down_helper(helpers_.fake("tap"));
  nic.backend->bridge->down_command.emplace_back(Broker::kMaxCommandBytes, 'x');
  EXPECT_THAT(refusal(machine({nic})),
              AllOf(StartsWith("-net bridge,br=br7: "), HasSubstr("65536 is the most")));
  EXPECT_THAT(down_helper_runs(), IsEmpty());
}

/// NICs and taps on one hub.
MachineConfig machine_with_hub(const std::vector<std::string>& taps, unsigned nics) {
  MachineConfig config;
  config.name = "web1";
  HubConfig& hub = config.hubs.emplace_back();
  for (const std::string& name : taps) {
    TapConfig& tap = hub.taps.emplace_back();
    tap.option = "-net tap,ifname=" + name;
    tap.ifname = name;
  }
  for (unsigned i = 0; i < nics; ++i) {
    config.nics.emplace_back().hub = 0;
  }
  return config;
}

TEST_F(HostNetworkTest, OneNicOnAHubHasTheOffloadsOfItsTaps) {
  auto network = HostNetwork::open(machine_with_hub({"t0", "t1"}, 1));
  ASSERT_TRUE(network) << network.error().message();
  ASSERT_EQ(network->hubs.size(), 1U);
  EXPECT_EQ(network->nics[0].hub, network->hubs[0].hub.get());
  EXPECT_NE(network->nics[0].ports.front().features.offloads, 0U);
  EXPECT_EQ(network->nics[0].ports.front().features.mtu, 1500);
  EXPECT_EQ(network->nics[0].ifname, "");
  EXPECT_TRUE(network->start());
}

TEST_F(HostNetworkTest, NicsOnAHubHaveAPortEach) {
  auto network = HostNetwork::open(machine_with_hub({"t0"}, 2));
  ASSERT_TRUE(network) << network.error().message();
  EXPECT_EQ(network->nics[0].hub, network->nics[1].hub);
  EXPECT_NE(network->nics[0].ports.front().fd.get(), network->nics[1].ports.front().fd.get());
  EXPECT_EQ(network->nics[0].ports.front().features.offloads, 0U);
  EXPECT_TRUE(network->start());
}

TEST_F(HostNetworkTest, ErrorsOfTapsOnHubsBeginWithTheirOption) {
  EXPECT_THAT(refusal(machine_with_hub({"t0", "lo"}, 1)),
              StartsWith("-net tap,ifname=lo: interface 'lo' is no tap"));
}

TEST_F(HostNetworkTest, DownHelpersOfTapsOnHubsRun) {
  MachineConfig config = machine_with_hub({"t0"}, 2);
  config.hubs[0].taps.push_back(*nic_with_down_helper(helpers_.fake("tap")).backend);
  EXPECT_EQ(refusal(config), "no error");
  EXPECT_THAT(down_helper_runs(), ElementsAre("a b|--br=br7|--ifname=tap0|3 there"));
}

TEST_F(HostNetworkTest, ANicWithoutPeerStartsAllTheSame) {
  MachineConfig config;
  config.nics.resize(2);
  auto network = HostNetwork::open(config);
  ASSERT_TRUE(network) << network.error().message();
  EXPECT_NE(network->nics[0].hub, network->nics[1].hub);
  EXPECT_FALSE(network->nics[0].ports.front().features.vnet_header);
  EXPECT_TRUE(network->start());
}

TEST_F(HostNetworkTest, RandomAddressesArePrinted) {
  MachineConfig config = machine({bridge_nic(helpers_.fake("tap"))});
  config.name.clear();
  ::testing::internal::CaptureStderr();
  set_log_level(LogLevel::kInfo);
  const auto network = HostNetwork::open(config);
  set_log_level(LogLevel::kWarning);
  const std::string text = ::testing::internal::GetCapturedStderr();
  ASSERT_TRUE(network) << network.error().message();
  EXPECT_THAT(text, HasSubstr("tapir: -net nic: this NIC has the random MAC address " +
                              network->nics[0].mac.to_string() + "; with -name it keeps one\n"));
}

}  // namespace
}  // namespace tapir::vmm
