// SPDX-License-Identifier: Apache-2.0
// Taps with a device of their own. The device nodes are made here, under names of this test's.
#include "net/macvtap.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <fstream>
#include <string>
#include <utility>
#include <vector>

#include "net/command_runner.h"
#include "net/offload.h"
#include "net/tap.h"
#include "net/testing/network_namespace.h"
#include "net/testing/temporary_directory.h"

namespace tapir::net {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

constexpr uid_t kNobody = 65534;

/// Whether it ended well.
bool run(const std::vector<std::string>& words) {
  auto child = ChildProcess::start(words, {});
  const auto status = child ? child->wait(ChildProcess::Clock::time_point::max()) : std::nullopt;
  return status && status->success();
}

std::string open_error(const std::string& name, const std::string& device) {
  TapOptions options;
  options.device = device;
  const auto tap = Tap::open(name, options);
  return tap ? "no error" : tap.error().message();
}

/// Device nodes are not in a namespace, and the last test's goes away when its namespace does, which is
/// later.
std::string unused_index() {
  static int index = 0;
  return std::to_string(::getpid() * 100 + ++index);
}

class TapDeviceTest : public ::testing::Test {
 protected:
  void SetUp() override { TAPIR_ENTER_NETWORK_NAMESPACE(); }
};

TEST_F(TapDeviceTest, TunDeviceMayHaveAnotherName) {
  const std::string path = "/dev/net/" + std::string(200, 'x');
  if (::mknod(path.c_str(), S_IFCHR | 0600, makedev(10, 200)) < 0) {
    TAPIR_SKIP_TEST("no device node can be made here");
  }
  TapOptions options;
  options.device = path;
  const auto tap = Tap::open("t0", options);
  ASSERT_TRUE(tap) << tap.error().message();
  EXPECT_EQ(tap->name(), "t0");
  EXPECT_EQ(tap->required_mac(), std::nullopt);
}

TEST_F(TapDeviceTest, WhatIsNoTapDeviceIsRefused) {
  for (const char* path : {"/dev/null", "/dev", "/etc/passwd"}) {
    EXPECT_THAT(open_error("", path), AllOf(HasSubstr(path), HasSubstr("is no tap device"))) << path;
  }
}

TEST_F(TapDeviceTest, MissingNodeIsExplained) {
  EXPECT_THAT(open_error("", "/dev/tap4711"),
              AllOf(HasSubstr("'/dev/tap4711' does not exist"), HasSubstr("mknod /dev/tap4711 c")));
}

/// Macvtap mv0 on a card of the namespace's own, with a node at path_.
class MacvtapTest : public TapDeviceTest {
 protected:
  void SetUp() override {
    TapDeviceTest::SetUp();
    if (IsSkipped() || HasFatalFailure()) {
      return;
    }
    if (!run({"ip", "link", "add", "card0", "type", "veth", "peer", "name", "peer0"}) ||
        !run({"ip", "link", "add", "link", "card0", "name", "mv0", "index", unused_index(), "address",
              "52:54:00:00:00:77", "type", "macvtap"})) {
      GTEST_SKIP() << "this kernel has no macvtap";
    }
    for (const char* link : {"card0", "peer0", "mv0"}) {
      ASSERT_TRUE(testing::set_link_up(link, true));
    }
    unsigned major_number = 0;
    unsigned minor_number = 0;
    char colon = 0;
    std::ifstream(device_number_file()) >> major_number >> colon >> minor_number;
    ASSERT_EQ(::mknod(path_.c_str(), S_IFCHR | 0600, makedev(major_number, minor_number)), 0);
  }

  TapOptions on_device() const {
    TapOptions options;
    options.device = path_;
    return options;
  }
  static std::string device_number_file() {
    return "/sys/class/net/mv0/tap" + std::to_string(::if_nametoindex("mv0")) + "/dev";
  }

  const std::string path_ = "/dev/net/" + std::string(150, 'm');
};

TEST_F(MacvtapTest, OpensByItsDevice) {
  const auto tap = Tap::open("", on_device());
  ASSERT_TRUE(tap) << tap.error().message();
  EXPECT_EQ(tap->name(), "mv0");
  EXPECT_FALSE(tap->created());
  ASSERT_TRUE(tap->required_mac());
  EXPECT_EQ(tap->required_mac()->to_string(), "52:54:00:00:00:77");
  EXPECT_TRUE(tap->features().vnet_header);
  EXPECT_EQ(tap->features().offloads & kTunOffloadsBeforeUso, kTunOffloadsBeforeUso);
  EXPECT_EQ(tap->features().mtu, 1500);
  int header_bytes = 0;
  ASSERT_EQ(::ioctl(tap->fd(), TUNGETVNETHDRSZ, &header_bytes), 0);
  EXPECT_EQ(header_bytes, 12);
}

TEST_F(MacvtapTest, OpensByItsName) {
  ASSERT_EQ(macvtap_node("mv0"), "/dev/tap" + std::to_string(::if_nametoindex("mv0")));
  const auto tap = Tap::open("mv0", {});
  ASSERT_TRUE(tap) << tap.error().message();
  EXPECT_TRUE(tap->required_mac());
}

TEST_F(MacvtapTest, CardsAndTapsHaveNoNode) {
  ASSERT_TRUE(testing::make_persistent_tap("t0"));
  EXPECT_EQ(macvtap_node("card0"), std::nullopt);
  EXPECT_EQ(macvtap_node("t0"), std::nullopt);
  EXPECT_EQ(macvtap_node("absent"), std::nullopt);
}

TEST_F(MacvtapTest, NameHasToBeThatOfTheDevice) {
  EXPECT_THAT(open_error("t0", path_), HasSubstr("this is the device of macvtap 'mv0', not of 't0'"));
}

TEST_F(MacvtapTest, VnetHeaderMayBeLeftOut) {
  TapOptions options = on_device();
  options.vnet_header = false;
  const auto tap = Tap::open("", options);
  ASSERT_TRUE(tap) << tap.error().message();
  EXPECT_FALSE(tap->features().vnet_header);
  EXPECT_EQ(tap->features().offloads, 0U);
  ifreq request{};
  ASSERT_EQ(::ioctl(tap->fd(), TUNGETIFF, &request), 0);
  EXPECT_EQ(request.ifr_flags & IFF_VNET_HDR, 0);
}

TEST_F(MacvtapTest, SendBufferAndFurtherQueuesAreAsForATap) {
  TapOptions options = on_device();
  options.send_buffer = 100000;
  options.multi_queue = true;
  const auto tap = Tap::open("", options);
  ASSERT_TRUE(tap) << tap.error().message();
  const auto queue = tap->open_queue();
  ASSERT_TRUE(queue) << queue.error().message();
  EXPECT_TRUE(Tap::detach_queue(queue->get()));
}

TEST_F(MacvtapTest, ADownOneIsAnError) {
  ASSERT_TRUE(testing::set_link_up("mv0", false));
  EXPECT_THAT(open_error("", path_), HasSubstr("tap 'mv0' is down; bring it up"));
}

TEST_F(MacvtapTest, ACardWithoutLinkIsAWarning) {
  ASSERT_TRUE(testing::set_link_up("peer0", false));
  ::testing::internal::CaptureStderr();
  EXPECT_EQ(open_error("", path_), "no error");
  EXPECT_THAT(::testing::internal::GetCapturedStderr(),
              HasSubstr("the network card under macvtap 'mv0' has no link"));
}

TEST_F(MacvtapTest, AdoptedOneIsKnown) {
  const UniqueFd fd(::open(path_.c_str(), O_RDWR));
  auto tap = Tap::adopt(fd.get(), {});
  ASSERT_TRUE(tap) << tap.error().message();
  EXPECT_EQ(tap->name(), "mv0");
  EXPECT_TRUE(tap->required_mac());
  static_cast<void>(std::move(*tap).into_port().fd.release());
}

TEST_F(MacvtapTest, FilePermissionIsAllThatAUserNeeds) {
  const auto as_nobody = [this] {
    return testing::run_as(kNobody, [this] { return open_error("", path_); });
  };
  EXPECT_THAT(as_nobody(), AllOf(HasSubstr("uid 65534 may not open '" + path_), HasSubstr("chown 65534 ")));
  ASSERT_EQ(::chown(path_.c_str(), kNobody, kNobody), 0);
  EXPECT_EQ(as_nobody(), "no error");
}

}  // namespace
}  // namespace tapir::net
