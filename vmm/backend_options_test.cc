// SPDX-License-Identifier: Apache-2.0
#include "vmm/backend_options.h"

#include <gmock/gmock.h>

#include <string>
#include <vector>

#include "vmm/network_keys.h"

namespace tapir::vmm {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

BackendOption parsed(const std::string& argument, NetworkOption where = NetworkOption::kNic) {
  Problems problems;
  BackendOption option = parse_backend(split_items(argument, "type"), where, {}, problems);
  EXPECT_THAT(problems.sentences(), IsEmpty()) << argument;
  return option;
}

BridgeConfig bridge(const std::string& argument) {
  const BackendOption option = parsed(argument);
  EXPECT_TRUE(option.tap.bridge) << argument;
  EXPECT_TRUE(option.tap.ifname.empty() && option.tap.fds.empty()) << argument;
  return option.tap.bridge.value_or(BridgeConfig{});
}

std::vector<std::string> problems_of(const std::string& argument, NetworkOption where = NetworkOption::kNic) {
  Problems problems;
  parse_backend(split_items(argument, "type"), where, {}, problems);
  return problems.sentences();
}

/// The one problem.
std::string refusal(const std::string& argument) {
  const auto problems = problems_of(argument);
  return problems.size() == 1 ? problems.front() : std::to_string(problems.size()) + " problems";
}

TEST(BackendOptionsTest, VnetHeaderIsKeptAsGiven) {
  const auto with = [](const std::string& more) {
    return parsed("tap,ifname=t0,script=no,downscript=no" + more).tap.vnet_header;
  };
  EXPECT_EQ(with(""), std::nullopt);
  EXPECT_EQ(with(",vnet_hdr=off"), false);
  EXPECT_EQ(with(",vnet_hdr"), true);
  EXPECT_EQ(with(",vnet_hdr=on"), true);
}

TEST(BackendOptionsTest, EmptyScriptIsNoScript) {
  EXPECT_EQ(parsed("tap,ifname=t0,script=,downscript=").tap.ifname, "t0");
}

TEST(BackendOptionsTest, InterfaceNamesFollowTheKernelsRules) {
  for (const char* const name : {"abcdefghijklmno", "tap0.5"}) {
    EXPECT_EQ(parsed("tap,ifname=" + std::string(name) + ",script=no,downscript=no").tap.ifname, name);
    EXPECT_EQ(bridge("bridge,br=" + std::string(name)).bridge, name);
  }
  for (const char* const name : {".", "..", "a/b", "a:b", "a b", "abcdefghijklmnop", "a%d"}) {
    EXPECT_THAT(refusal("tap,ifname=" + std::string(name) + ",script=no,downscript=no"),
                HasSubstr("interface"));
    EXPECT_THAT(refusal("bridge,br=" + std::string(name)), HasSubstr("interface"));
  }
}

TEST(BackendOptionsTest, BridgeHasQemuDefaults) {
  const BridgeConfig config = bridge("bridge");
  EXPECT_EQ(config.bridge, "br0");
  EXPECT_EQ(config.helper, std::nullopt);
  EXPECT_EQ(parsed("bridge").tap.queues, 1U);
  EXPECT_THAT(config.down_command, IsEmpty());
}

TEST(BackendOptionsTest, BridgeTakesItsKeysInAnyOrder) {
  const BridgeConfig config = bridge("bridge,down-helper=/d,queues=16,helper=/h,br=virbr0,id=a");
  EXPECT_EQ(config.bridge, "virbr0");
  EXPECT_EQ(config.helper, "/h");
  EXPECT_THAT(config.down_command, ElementsAre("/d"));
}

TEST(BackendOptionsTest, TapWithHelperIsABridge) {
  EXPECT_EQ(bridge("tap,helper=/h").bridge, "br0");
  const BridgeConfig config = bridge("tap,helper=/h,br=br1,queues=2,down-helper=/d,id=a");
  EXPECT_EQ(config.bridge, "br1");
  EXPECT_EQ(config.helper, "/h");
  EXPECT_THAT(config.down_command, ElementsAre("/d"));
}

TEST(BackendOptionsTest, HelperStringIsKeptWhole) {
  EXPECT_EQ(bridge("bridge,helper=sudo -n '/a b/h' --x=1,,2,br=br1").helper, "sudo -n '/a b/h' --x=1,2");
  EXPECT_EQ(bridge("tap,helper=it's").helper, "it's");  // no blank: a path
}

TEST(BackendOptionsTest, BridgeInTheHelpersCommandCounts) {
  EXPECT_EQ(bridge("tap,helper=/h --br=br1 --br=br2").bridge, "br2");
  const BackendOption both = parsed("bridge,br=br5,helper=/h --br=br1");
  EXPECT_EQ(both.tap.bridge->bridge, "br1");
  EXPECT_THAT(both.warnings, ElementsAre("br=br5 has no effect, since the helper's own --br=br1 counts"));
  EXPECT_EQ(bridge("bridge,helper=/h--br=br1").bridge, "br0");  // a path
}

TEST(BackendOptionsTest, DownHelperIsSplitByQuoteRules) {
  EXPECT_THAT(bridge("bridge,down-helper=nft -f '/etc/my rules' a,,b").down_command,
              ElementsAre("nft", "-f", "/etc/my rules", "a,b"));
}

TEST(BackendOptionsTest, BridgeKeyOfAPlainTapIsAWarning) {
  EXPECT_THAT(parsed("tap,fd=3,br=br1").warnings, ElementsAre("br=br1 has no effect without helper="));
  EXPECT_THAT(parsed("tap,ifname=t0,script=no,downscript=no,br=br1").warnings,
              ElementsAre("br=br1 has no effect without helper="));
  EXPECT_THAT(parsed("tap,helper=/h,br=br1").warnings, IsEmpty());
}

TEST(BackendOptionsTest, OneQueueOfANamedTapMayBeSpelledOut) {
  EXPECT_EQ(parsed("tap,ifname=t0,script=no,downscript=no,queues=1").tap.ifname, "t0");
}

TEST(BackendOptionsTest, KeysOfANicAreLeftToTheCaller) {
  Problems problems;
  const auto items = split_items("bridge,mac=52:54:00:00:00:01,br=br1,model=x", "type");
  EXPECT_EQ(parse_backend(items, NetworkOption::kNic, nic_keys(), problems).tap.bridge->bridge, "br1");
  EXPECT_THAT(problems.sentences(), IsEmpty());
  EXPECT_EQ(refusal("bridge,mac=52:54:00:00:00:01"),
            "unknown key 'mac'; tapir knows type, id, br, helper, queues, down-helper, io, poll-us");
}

TEST(BackendOptionsTest, ScriptsOfATapThatIsOpenedHaveDefaults) {
  const TapConfig tap = parsed("tap,ifname=t0").tap;
  EXPECT_EQ(tap.up_script, (ScriptConfig{std::string(default_up_script()), false}));
  EXPECT_EQ(tap.down_script, (ScriptConfig{std::string(default_down_script()), false}));
  for (const char* const none : {"tap,script=no,downscript=no", "tap,script=,downscript="}) {
    EXPECT_EQ(parsed(none).tap.up_script, (ScriptConfig{"", true}));
    EXPECT_EQ(parsed(none).tap.down_script, (ScriptConfig{"", true}));
  }
  EXPECT_EQ(parsed("tap,script=/up,downscript=/down").tap.up_script, (ScriptConfig{"/up", true}));
  EXPECT_EQ(parsed("tap,script=/up,downscript=/down").tap.down_script, (ScriptConfig{"/down", true}));
}

TEST(BackendOptionsTest, OtherTapsHaveNoScriptsUnlessGiven) {
  for (const char* const argument : {"tap,fd=3", "tap,helper=/h", "bridge", "tap,dev=/dev/tap5"}) {
    EXPECT_EQ(parsed(argument).tap.up_script, ScriptConfig()) << argument;
    EXPECT_EQ(parsed(argument).tap.down_script, ScriptConfig()) << argument;
  }
  EXPECT_EQ(parsed("tap,dev=/dev/tap5,script=/up").tap.up_script, (ScriptConfig{"/up", true}));
}

TEST(BackendOptionsTest, DeviceMayHaveAPathOfAnyLength) {
  const std::string path = "/dev/" + std::string(3000, 'x');
  EXPECT_EQ(parsed("tap,dev=" + path).tap.device, path);
  EXPECT_EQ(parsed("tap").tap.device, kTunDevice);
}

TEST(BackendOptionsTest, DescriptorsAreOneForEachQueue) {
  EXPECT_THAT(parsed("tap,fd=3").tap.fds, ElementsAre(3));
  EXPECT_THAT(parsed("tap,fds=7:3:5").tap.fds, ElementsAre(7, 3, 5));
  EXPECT_EQ(parsed("tap,fds=7:3:5").tap.queues, 3U);
}

TEST(BackendOptionsTest, TapMayHaveSeveralQueues) {
  EXPECT_EQ(parsed("tap,ifname=t0").tap.queues, 1U);
  EXPECT_EQ(parsed("tap,ifname=t0,queues=4").tap.queues, 4U);
  EXPECT_EQ(parsed("tap,helper=/h,queues=4").tap.queues, 4U);
}

TEST(BackendOptionsTest, SendBufferIsSetOnRequestOnly) {
  EXPECT_EQ(parsed("tap,fd=3").tap.sndbuf, std::nullopt);
  EXPECT_EQ(parsed("tap,fd=3,sndbuf=1.5k").tap.sndbuf, 1536U);
  EXPECT_EQ(parsed("tap,fd=3,sndbuf=0").tap.sndbuf, 2147483647U);  // without limit
  EXPECT_EQ(parsed("tap,fd=3,sndbuf=1T").tap.sndbuf, 2147483647U);
}

TEST(BackendOptionsTest, HubPortHasItsHubAndPerhapsABackend) {
  const auto port = parsed("hubport,hubid=-7,netdev=a,id=p").hub_port;
  ASSERT_TRUE(port);
  EXPECT_EQ(port->hub_id, -7);
  EXPECT_EQ(port->netdev, "a");
  EXPECT_EQ(parsed("hubport,hubid=1").hub_port->netdev, std::nullopt);
  EXPECT_FALSE(parsed("tap,fd=3").hub_port);
}

TEST(BackendOptionsTest, EveryProblemOfAnArgumentIsTold) {
  EXPECT_THAT(
      problems_of("tap,id=1a,foo=2,fd=x,ifname=a/b,vnet_hdr=maybe", NetworkOption::kNetdev),
      ElementsAre(HasSubstr("id=1a"), HasSubstr("unknown key 'foo'"), HasSubstr("fd=x"),
                  HasSubstr("ifname=a/b"), HasSubstr("vnet_hdr=maybe"),
                  "ifname= and vnet_hdr= cannot be given with fd=: that was settled when the descriptor was "
                  "opened; leave one of them out"));
}

TEST(BackendOptionsTest, OnlyNetdevNeedsAnId) {
  EXPECT_THAT(problems_of("bridge", NetworkOption::kNetdev),
              ElementsAre("id= is missing; for example bridge,id=n0"));
  EXPECT_THAT(problems_of("bridge", NetworkOption::kNet), IsEmpty());
  EXPECT_THAT(problems_of("bridge", NetworkOption::kNic), IsEmpty());
}

}  // namespace
}  // namespace tapir::vmm
