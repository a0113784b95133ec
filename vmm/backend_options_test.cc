// SPDX-License-Identifier: Apache-2.0
#include "vmm/backend_options.h"

#include <gmock/gmock.h>

#include <string>

#include "vmm/nic_options.h"

namespace tapir::vmm {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

BackendOption parsed(const std::string& argument) {
  auto option = parse_backend(argument);
  EXPECT_TRUE(option) << argument << ": " << option.error().message();
  return option ? *std::move(option) : BackendOption{};
}

BridgeConfig bridge(const std::string& argument) {
  const BackendOption option = parsed(argument);
  EXPECT_TRUE(option.tap.bridge) << argument;
  EXPECT_TRUE(option.tap.ifname.empty() && option.tap.fds.empty()) << argument;
  return option.tap.bridge.value_or(BridgeConfig{});
}

std::string refusal(const std::string& argument) {
  const auto option = parse_backend(argument);
  return option ? "accepted" : option.error().message();
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
  for (const char* const name : {"", ".", "..", "a/b", "a:b", "a b", "abcdefghijklmnop", "a%d"}) {
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
  EXPECT_EQ(both.warning, "br=br5 has no effect, since the helper's own --br=br1 counts");
  EXPECT_EQ(bridge("bridge,helper=/h--br=br1").bridge, "br0");  // a path
}

TEST(BackendOptionsTest, DownHelperIsSplitByQuoteRules) {
  EXPECT_THAT(bridge("bridge,down-helper=nft -f '/etc/my rules' a,,b").down_command,
              ElementsAre("nft", "-f", "/etc/my rules", "a,b"));
}

TEST(BackendOptionsTest, BridgeKeyOfAPlainTapIsAWarning) {
  EXPECT_EQ(parsed("tap,fd=3,br=br1").warning, "br=br1 has no effect without helper=");
  EXPECT_EQ(parsed("tap,ifname=t0,script=no,downscript=no,br=br1").warning,
            "br=br1 has no effect without helper=");
  EXPECT_EQ(parsed("tap,helper=/h,br=br1").warning, "");
}

TEST(BackendOptionsTest, OneQueueOfANamedTapMayBeSpelledOut) {
  EXPECT_EQ(parsed("tap,ifname=t0,script=no,downscript=no,queues=1").tap.ifname, "t0");
}

TEST(BackendOptionsTest, KeysOfANicAreLeftToTheCaller) {
  const auto option = parse_backend("bridge,mac=zz,br=br1,model=x", nic_keys());
  ASSERT_TRUE(option) << option.error().message();
  EXPECT_EQ(option->keys.find("mac"), "zz");
  EXPECT_EQ(option->tap.bridge->bridge, "br1");
  EXPECT_EQ(refusal("bridge,mac=zz"),
            "unknown key 'mac'; tapir knows type, id, br, helper, queues, down-helper");
}

struct Refusal {
  const char* argument;
  const char* message;
};

class BackendRefusalTest : public ::testing::TestWithParam<Refusal> {};

TEST_P(BackendRefusalTest, IsOneClearSentence) {
  EXPECT_EQ(refusal(GetParam().argument), GetParam().message);
}

constexpr const char* kFdRule =
    "ifname=, script=, downscript=, vnet_hdr=, helper= and queues= cannot be given with fd=: they were "
    "settled "
    "when the descriptor was opened";
constexpr const char* kHelperRule =
    "ifname=, script=, downscript= and vnet_hdr= cannot be given with helper=: the helper makes the tap, "
    "names "
    "it and sets it up";
constexpr const char* kScriptRule =
    "interface scripts are not supported yet; set the interface up beforehand and add "
    "script=no,downscript=no";
constexpr const char* kDownRule =
    "down-helper= undoes what a bridge helper did; it is possible with helper= and with type bridge only";

INSTANTIATE_TEST_SUITE_P(
    Tap, BackendRefusalTest,
    ::testing::Values(
        Refusal{"tap,id=1a,fd=3",
                "id=1a: an id begins with a letter and goes on with letters, digits, '-', '.' and '_'"},
        Refusal{"tap,id=,fd=3",
                "id=: an id begins with a letter and goes on with letters, digits, '-', '.' and '_'"},
        Refusal{
            "tap",
            "ifname=, fd= or helper= is missing; for example ifname=tap0,script=no,downscript=no, or type "
            "bridge for a tap that the bridge helper makes"},
        Refusal{"tap,fd=3,ifname=t0", kFdRule}, Refusal{"tap,fd=3,script=no", kFdRule},
        Refusal{"tap,fd=3,downscript=no", kFdRule}, Refusal{"tap,fd=3,vnet_hdr=on", kFdRule},
        Refusal{"tap,fd=3,helper=/h", kFdRule}, Refusal{"tap,fd=3,queues=1", kFdRule},
        Refusal{"tap,fd=3,down-helper=/d", kDownRule},
        Refusal{"tap,fd=x", "fd=x: a file descriptor is a number, for example fd=3 with 3<>/dev/tap5"},
        Refusal{"tap,fd=-1", "fd=-1: a file descriptor is a number, for example fd=3 with 3<>/dev/tap5"},
        Refusal{"tap,fd=2147483648",
                "fd=2147483648: a file descriptor is a number, for example fd=3 with 3<>/dev/tap5"},
        Refusal{"tap,ifname=t0", kScriptRule}, Refusal{"tap,ifname=t0,downscript=no", kScriptRule},
        Refusal{"tap,ifname=t0,script=/etc/qemu-ifup,downscript=no", kScriptRule},
        Refusal{"tap,ifname=t0,script=no",
                "interface shutdown scripts are not supported yet; set the interface up beforehand and add "
                "script=no,downscript=no"},
        Refusal{"tap,ifname=t0,script=no,downscript=no,vnet_hdr=2",
                "vnet_hdr=2: the value must be on or off"},
        Refusal{"tap,ifname=t0,script=no,downscript=no,queues=2",
                "queues=2: only a bridge helper makes a tap with more than one queue as yet; leave queues= "
                "out, or use -netdev bridge"},
        Refusal{"tap,ifname=t0,script=no,downscript=no,down-helper=/d", kDownRule},
        Refusal{"tap,ifnam=t0", "unknown key 'ifnam'; did you mean 'ifname'?"}));

INSTANTIATE_TEST_SUITE_P(
    Helper, BackendRefusalTest,
    ::testing::Values(
        Refusal{"tap,helper=/h,ifname=t0", kHelperRule}, Refusal{"tap,helper=/h,script=no", kHelperRule},
        Refusal{"tap,helper=/h,downscript=no", kHelperRule},
        Refusal{"tap,helper=/h,vnet_hdr=on", kHelperRule},
        Refusal{"tap,helper=",
                "helper= is empty; give a path or a command, for example "
                "helper=/usr/lib/qemu/qemu-bridge-helper"},
        Refusal{"bridge,helper=/h 'x", "command '/h 'x' has a ' without its other half"},
        Refusal{"bridge,queues=0", "queues=0: a tap has 1 to 16 queues here; for example queues=2"},
        Refusal{"bridge,queues=17", "queues=17: a tap has 1 to 16 queues here; for example queues=2"},
        Refusal{"tap,helper=/h,queues=two",
                "queues=two: a tap has 1 to 16 queues here; for example queues=2"},
        Refusal{"bridge,br=br0/x",
                "interface name 'br0/x' has a '/' in it, which is not possible; choose another"},
        Refusal{"bridge,helper=/h --br=a/b",
                "interface name 'a/b' has a '/' in it, which is not possible; choose another"},
        Refusal{"bridge,down-helper=", "down-helper=: command '' names no program"},
        Refusal{"bridge,down-helper=/d \"x",
                "down-helper=: command '/d \"x' has a \" without its other half"},
        Refusal{"bridge,down-helper", "'down-helper' needs a value: down-helper=VALUE"},
        Refusal{"bridge,ifname=t0",
                "unknown key 'ifname'; tapir knows type, id, br, helper, queues, down-helper"},
        Refusal{"bridge,vnet_hdr=on",
                "unknown key 'vnet_hdr'; tapir knows type, id, br, helper, queues, down-helper"}));

}  // namespace
}  // namespace tapir::vmm
