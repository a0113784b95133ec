// SPDX-License-Identifier: Apache-2.0
// Taps that tapir opens itself or is given: scripts, queues, macvtaps.
#include "vmm/host_tap.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <fstream>
#include <string>
#include <utility>
#include <vector>

#include "net/command_runner.h"
#include "net/testing/helper_directory.h"
#include "net/testing/network_namespace.h"
#include "vmm/host_network.h"

namespace tapir::vmm {
namespace {

using net::testing::HelperDirectory;
using net::testing::make_persistent_tap;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::StartsWith;

class HostTapTest : public ::testing::Test {
 protected:
  void SetUp() override { TAPIR_ENTER_NETWORK_NAMESPACE(); }

  static NicConfig nic_on(const TapConfig& tap) {
    NicConfig nic;
    nic.option = "-device virtio-net-pci,netdev=n0";
    nic.backend = tap;
    return nic;
  }
  static MachineConfig machine(const TapConfig& tap) {
    MachineConfig config;
    config.name = "web1";
    config.nics = {nic_on(tap)};
    return config;
  }
  static TapConfig tap_called(const std::string& ifname) {
    TapConfig tap;
    tap.option = "-netdev tap,id=n0";
    tap.ifname = ifname;
    return tap;
  }
  static std::string refusal(const MachineConfig& config) {
    const auto network = HostNetwork::open(config);
    return network ? "no error" : network.error().message();
  }
  /// Writes down that it ran, with what, and whether the interface is there and up.
  std::string script(const std::string& name, const std::string& more = "") const {
    return directory_.script(name,
                             "#!/bin/sh\nlog=\"${0%/*}/log\"\nstate=$(ip -br link show \"$1\" 2>&1)\n"
                             "case $state in *[\\<,]UP*) state=up;; *'does not exist'*) state=gone;; "
                             "*) state=down;; esac\n"
                             "echo \"${0##*/} $# $1 $state\" >> \"$log\"\n" +
                                 more);
  }
  std::vector<std::string> runs() const {
    std::ifstream file(directory_.path() + "/log");
    std::vector<std::string> lines;
    for (std::string line; std::getline(file, line);) {
      lines.push_back(line);
    }
    return lines;
  }
  static UniqueFd attached(const std::string& name, int flags) {
    UniqueFd fd(::open("/dev/net/tun", O_RDWR));
    ifreq request{};
    name.copy(request.ifr_name, IFNAMSIZ - 1);
    request.ifr_flags = static_cast<short>(IFF_TAP | IFF_NO_PI | flags);
    EXPECT_EQ(::ioctl(fd.get(), TUNSETIFF, &request), 0);
    return fd;
  }

  HelperDirectory directory_;
};

TEST_F(HostTapTest, ScriptsRunBeforeTheStartAndAtTheEnd) {
  TapConfig tap = tap_called("t0");
  tap.up_script = {script("ifup"), true};
  tap.down_script = {script("ifdown"), true};
  {
    auto network = HostNetwork::open(machine(tap));
    ASSERT_TRUE(network) << network.error().message();
    EXPECT_EQ(network->nics[0].ifname, "t0");
    EXPECT_THAT(runs(), ElementsAre("ifup 1 t0 down"));
    ASSERT_TRUE(network->start());
  }
  EXPECT_THAT(runs(), ElementsAre("ifup 1 t0 down", "ifdown 1 t0 up"));
}

TEST_F(HostTapTest, AScriptMayBringUpAPersistentTap) {
  ASSERT_TRUE(make_persistent_tap("t0", {.up = false}));
  TapConfig tap = tap_called("t0");
  EXPECT_THAT(refusal(machine(tap)), StartsWith("-netdev tap,id=n0: tap 't0' is down"));
  tap.up_script = {script("ifup", "ip link set \"$1\" mtu 4000 up\n"), true};
  const auto network = HostNetwork::open(machine(tap));
  ASSERT_TRUE(network) << network.error().message();
  EXPECT_EQ(network->nics[0].ports.front().features.mtu, 4000);
}

TEST_F(HostTapTest, AFailingScriptStopsTheStart) {
  TapConfig tap = tap_called("t0");
  tap.up_script = {script("ifup", "echo 'no bridge br9' >&2\nexit 1\n"), true};
  tap.down_script = {script("ifdown"), true};
  EXPECT_THAT(refusal(machine(tap)), AllOf(StartsWith("-netdev tap,id=n0: the script '"),
                                           HasSubstr("exited with status 1 and says: no bridge br9")));
  EXPECT_THAT(runs(), ElementsAre("ifup 1 t0 down"));
}

TEST_F(HostTapTest, MissingScriptsAreErrorsWhenTheyWereAskedFor) {
  TapConfig tap = tap_called("t0");
  tap.up_script = {"/nonexistent/up", true};
  EXPECT_THAT(refusal(machine(tap)), StartsWith("-netdev tap,id=n0: script=/nonexistent/up: "));
  tap.up_script = {"/nonexistent/up", false};
  tap.down_script = {"/nonexistent/down", true};
  EXPECT_THAT(refusal(machine(tap)), StartsWith("-netdev tap,id=n0: downscript=/nonexistent/down: "));
  tap.down_script.given = false;
  const auto network = HostNetwork::open(machine(tap));
  ASSERT_TRUE(network) << network.error().message();
  EXPECT_EQ(network->broker, nullptr);
}

TEST_F(HostTapTest, QueuesAreOpenedAndKeptDetached) {
  TapConfig tap = tap_called("t0");
  tap.queues = 3;
  tap.up_script = {script("ifup"), true};
  const auto network = HostNetwork::open(machine(tap));
  ASSERT_TRUE(network) << network.error().message();
  const auto& ports = network->nics[0].ports;
  ASSERT_EQ(ports.size(), 3U);
  EXPECT_FALSE(net::Tap::detach_queue(ports[1].fd.get()));  // it is already
  EXPECT_FALSE(net::Tap::detach_queue(ports[2].fd.get()));
  EXPECT_THAT(runs(), ElementsAre("ifup 1 t0 down"));
}

TEST_F(HostTapTest, DescriptorsOfOneTapAreItsQueues) {
  TapConfig tap;
  tap.option = "-netdev tap,id=n0";
  for (int i = 0; i < 3; ++i) {
    tap.fds.push_back(attached("t0", IFF_MULTI_QUEUE | IFF_VNET_HDR).release());
  }
  tap.queues = 3;
  ASSERT_TRUE(net::testing::set_link_up("t0", true));
  const auto network = HostNetwork::open(machine(tap));
  ASSERT_TRUE(network) << network.error().message();
  EXPECT_EQ(network->nics[0].ports.size(), 3U);
  EXPECT_TRUE(network->nics[0].ports.front().features.vnet_header);
}

TEST_F(HostTapTest, DescriptorsOfTwoTapsAreRefused) {
  TapConfig tap;
  tap.option = "-netdev tap,id=n0";
  tap.fds = {attached("t0", 0).release(), attached("t1", 0).release()};
  EXPECT_THAT(refusal(machine(tap)),
              AllOf(HasSubstr("of tap 't0' and fd "), HasSubstr("of tap 't1'; fds= takes")));
}

class HostMacvtapTest : public HostTapTest {
 protected:
  void SetUp() override {
    HostTapTest::SetUp();
    if (IsSkipped() || HasFatalFailure()) {
      return;
    }
    // Device nodes are not in a namespace, and the last test's goes away when its namespace does, which is
    // later: an index is used once.
    static int index = 0;
    node_ = "/dev/tap" + std::to_string(::getpid() * 100 + ++index);
    for (const std::string& line : {std::string("ip link add card0 type veth peer name peer0"),
                                    "ip link add link card0 name mv0 index " + node_.substr(8) +
                                        " address 52:54:00:00:00:77 type macvtap"}) {
      auto child = net::ChildProcess::start(*net::split_command(line), {});
      const auto status = child ? child->wait(net::ChildProcess::Clock::time_point::max()) : std::nullopt;
      if (!status || !status->success()) {
        GTEST_SKIP() << "this kernel has no macvtap";
      }
    }
    for (const char* link : {"card0", "peer0", "mv0"}) {
      ASSERT_TRUE(net::testing::set_link_up(link, true));
    }
  }

  std::string node_;
};

TEST_F(HostMacvtapTest, NicHasItsAddress) {
  const auto network = HostNetwork::open(machine(tap_called("mv0")));
  ASSERT_TRUE(network) << network.error().message();
  EXPECT_EQ(network->nics[0].ifname, "mv0");
  EXPECT_EQ(network->nics[0].mac.to_string(), "52:54:00:00:00:77");
}

TEST_F(HostMacvtapTest, AnotherAddressIsAnError) {
  MachineConfig config = machine(tap_called("mv0"));
  config.nics[0].mac = net::MacAddress::parse("52:54:00:00:00:78");
  EXPECT_EQ(refusal(config),
            "-device virtio-net-pci,netdev=n0: the address is 52:54:00:00:00:78, but macvtap 'mv0' passes on "
            "only frames for its own, 52:54:00:00:00:77; leave the address out, and the NIC has that one");
  config.nics[0].mac = net::MacAddress::parse("52:54:00:00:00:77");
  EXPECT_EQ(refusal(config), "no error");
}

TEST_F(HostMacvtapTest, AnotherAddressOnADescriptorIsAWarning) {
  TapConfig tap;
  tap.fds = {::open(node_.c_str(), O_RDWR)};
  ASSERT_GE(tap.fds[0], 0);
  MachineConfig config = machine(tap);
  config.nics[0].mac = net::MacAddress::parse("52:54:00:00:00:78");
  ::testing::internal::CaptureStderr();
  EXPECT_EQ(refusal(config), "no error");
  EXPECT_THAT(::testing::internal::GetCapturedStderr(), HasSubstr("macvtap 'mv0' passes on only frames for"));
}

TEST_F(HostMacvtapTest, DescriptorsWithAndWithoutVnetHeaderAreRefused) {
  TapConfig tap;
  tap.option = "-netdev tap,id=n0";
  tap.fds = {::open(node_.c_str(), O_RDWR), ::open(node_.c_str(), O_RDWR)};
  ifreq request{};
  request.ifr_flags = IFF_TAP | IFF_NO_PI;
  ASSERT_EQ(::ioctl(tap.fds[1], TUNSETIFF, &request), 0);
  EXPECT_THAT(refusal(machine(tap)), HasSubstr("some of the queues of tap 'mv0' have a vnet header"));
}

}  // namespace
}  // namespace tapir::vmm
