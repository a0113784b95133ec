// SPDX-License-Identifier: Apache-2.0
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <linux/capability.h>
#include <linux/if_tun.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <ostream>

#include "net/base/scope_exit.h"
#include "net/bridge_client.h"
#include "net/tap.h"
#include "net/testing/helper_directory.h"
#include "net/testing/network_namespace.h"

namespace tapir::net {
namespace {

using namespace std::chrono_literals;
using net::testing::has_no_children;
using net::testing::HelperDirectory;
using net::testing::open_descriptors;
using net::testing::run_as;
using ::testing::AllOf;
using ::testing::EndsWith;
using ::testing::HasSubstr;

constexpr uid_t kNobody = 65534;
constexpr const char* kHelperOfQemu = "/usr/lib/qemu/qemu-bridge-helper";

std::string refusal(const BridgeRequest& request) {
  const auto taps = request_taps(request);
  return taps ? "no error" : taps.error().message();
}

ifreq describe(int tap) {
  ifreq request{};
  EXPECT_EQ(::ioctl(tap, TUNGETIFF, &request), 0);
  return request;
}

class BridgeClientNetTest : public ::testing::Test {
 protected:
  void SetUp() override {
    TAPIR_ENTER_NETWORK_NAMESPACE();
    before_ = open_descriptors();
  }
  void TearDown() override {
    if (IsSkipped() || HasFatalFailure()) {
      return;
    }
    EXPECT_EQ(open_descriptors(), before_);
    EXPECT_TRUE(has_no_children());
    const std::filesystem::directory_iterator interfaces("/sys/class/net");
    EXPECT_TRUE(std::none_of(begin(interfaces), end(interfaces), [](const auto& entry) {
      return entry.path().filename().string().starts_with("t");
    })) << "a tap is left";
  }

  HelperDirectory directory_;

 private:
  std::vector<std::string> before_;
};

TEST_F(BridgeClientNetTest, ATapFromAHelperIsReadyForUse) {
  auto taps = request_taps({.helper = directory_.fake("tap")});
  ASSERT_TRUE(taps) << taps.error().message();
  ASSERT_EQ(taps->size(), 1U);
  EXPECT_EQ(::fcntl(taps->front().get(), F_GETFD), FD_CLOEXEC);
  const auto tap = Tap::adopt(taps->front().release(), {});
  ASSERT_TRUE(tap) << tap.error().message();
  EXPECT_EQ(tap->name(), "tap0");
  EXPECT_TRUE(tap->features().vnet_header);
}

// HLP-33: a TAP without IFF_VNET_HDR is a tap; who needs the header says so when adopting it.
TEST_F(BridgeClientNetTest, ATapWithoutVnetHeaderIsLeftToWhoeverAdoptsIt) {
  const auto taps = request_taps({.helper = directory_.fake("tap"), .vnet_header = false});
  ASSERT_TRUE(taps) << taps.error().message();
  EXPECT_EQ(describe(taps->front().get()).ifr_flags & IFF_VNET_HDR, 0);
  EXPECT_FALSE(Tap::adopt(taps->front().get(), {.vnet_header = true}));
}

TEST_F(BridgeClientNetTest, AllQueuesAreOfOneTap) {
  const auto taps = request_taps({.queues = 4, .default_helper = directory_.fake("queues")});
  ASSERT_TRUE(taps) << taps.error().message();
  ASSERT_EQ(taps->size(), 4U);
  for (const UniqueFd& tap : *taps) {
    EXPECT_STREQ(describe(tap.get()).ifr_name, "tapq");
    EXPECT_NE(describe(tap.get()).ifr_flags & IFF_MULTI_QUEUE, 0);
  }
}

TEST_F(BridgeClientNetTest, AHelperThatSaysItIsTapirsMakesSeveralQueues) {
  const auto taps = request_taps({.helper = directory_.fake("tapir+queues"), .queues = 2});
  ASSERT_TRUE(taps) << taps.error().message();
  EXPECT_EQ(taps->size(), 2U);
}

TEST_F(BridgeClientNetTest, ATapComesThroughSudo) {
  const std::string command = directory_.fake("sudo") + " -n " + directory_.fake("tap");
  const auto taps = request_taps({.helper = command});
  EXPECT_TRUE(taps) << taps.error().message();
}

TEST_F(BridgeClientNetTest, WhatASuccessfulHelperWroteIsAWarning) {
  const std::string helper = directory_.fake("tap+words");
  ::testing::internal::CaptureStderr();
  const bool granted = request_taps({.helper = helper}).has_value();
  EXPECT_EQ(
      ::testing::internal::GetCapturedStderr(),
      "tapir: warning: bridge helper '" + helper + "': access to \\x1b[31mbridge\\x07denied; ask root\n");
  EXPECT_TRUE(granted);
}

TEST_F(BridgeClientNetTest, NeitherAChattyHelperNorOneWithAChildIsWaitedForLongerThanItself) {
  for (const char* steps : {"tap+flood", "child+tap", "tap+close"}) {
    const auto begin = std::chrono::steady_clock::now();
    const auto taps = request_taps({.helper = directory_.fake(steps), .limit = 20s});
    EXPECT_TRUE(taps) << taps.error().message();
    EXPECT_LT(std::chrono::steady_clock::now() - begin, 10s) << steps;
  }
}

struct WrongHelper {
  const char* steps;
  const char* sentence;
  unsigned queues = 1;
  bool hangs = false;

  friend std::ostream& operator<<(std::ostream& out, const WrongHelper& helper) {
    return out << helper.steps << " for " << helper.queues;
  }
};

// HLP-33 and FLT-15, where a tap is needed; the fixture sees to it that none is left.
class WrongTapTest : public BridgeClientNetTest, public ::testing::WithParamInterface<WrongHelper> {};

TEST_P(WrongTapTest, IsAnErrorThatSaysWhatTheHelperDid) {
  const WrongHelper& helper = GetParam();
  EXPECT_THAT(refusal({.queues = helper.queues,
                       .default_helper = directory_.fake(helper.steps),
                       .limit = helper.hangs ? 500ms : 20s}),
              EndsWith(std::string(helper.steps) + "' " + helper.sentence));
}

constexpr const char* kTooMany = "sent more descriptors than the 1 asked for";

INSTANTIATE_TEST_SUITE_P(
    Hlp33, WrongTapTest,
    ::testing::Values(WrongHelper{"tap+tap", kTooMany}, WrongHelper{"pair", kTooMany},
                      WrongHelper{"tap+file", kTooMany},
                      WrongHelper{"file+tap", "sent a descriptor that is no tap"},
                      WrongHelper{"unattached", "sent a descriptor that is no tap"},
                      WrongHelper{"tun", "sent the tun 'tun0', which carries IP packets without Ethernet"},
                      WrongHelper{"tap+byte", "sent data without a tap"},
                      WrongHelper{"long", "sent a descriptor with 8 bytes instead of one"},
                      WrongHelper{"tap+data", "sent data without a tap"},
                      WrongHelper{"tap+exit1", "exited with status 1"},
                      WrongHelper{"tap+killed", "was killed by SIGKILL"},
                      WrongHelper{"tap+hang", "sent a tap but did not end in 0.5 s and was stopped", 1, true},
                      WrongHelper{"tap", "sent tap 'tap0', which has one queue only", 2},
                      WrongHelper{"multi", "sent 1 of 2 queues", 2},
                      WrongHelper{"multi+multi", "sent queues of two taps, 'tap0' and 'tap1'", 2},
                      WrongHelper{"queues+multi", "sent more descriptors than the 2 asked for", 2}));

// What the sentence says when an ordinary user's helper lacks its privilege.
class HelperPrivilegesNetTest : public BridgeClientNetTest {
 protected:
  void SetUp() override {
    BridgeClientNetTest::SetUp();
    if (IsSkipped() || HasFatalFailure()) {
      return;
    }
    if (auto status = net::testing::set_tun_device_mode(0666); !status) {
      TAPIR_SKIP_TEST(status.error().message());
    }
    mount_on_directory(0);
  }

  void TearDown() override {
    // Else the directory below could not be removed.
    while (::umount2(directory_.path().c_str(), MNT_DETACH) == 0) {
    }
    BridgeClientNetTest::TearDown();
  }

  // A file system of the test's own, so that that of /tmp does not matter.
  void mount_on_directory(unsigned long flags) const {
    ASSERT_EQ(::mount("tmpfs", directory_.path().c_str(), "tmpfs", flags, "mode=755"), 0);
  }
  std::string failing_helper(mode_t mode, const std::string& words = "Operation not permitted") const {
    std::string path = directory_.script("helper", "#!/bin/sh\necho " + words + " >&2\nexit 1\n");
    EXPECT_EQ(::chmod(path.c_str(), mode), 0);
    return path;
  }
  // A program that fails, with one file capability.
  std::string failing_helper_with(unsigned capability, bool effective) const {
    std::string path = directory_.path() + "/helper";
    std::filesystem::copy_file("/bin/false", path);
    vfs_cap_data attribute{};
    attribute.magic_etc = VFS_CAP_REVISION_2 | (effective ? VFS_CAP_FLAGS_EFFECTIVE : 0);
    attribute.data[0].permitted = 1U << capability;
    EXPECT_EQ(::setxattr(path.c_str(), "security.capability", &attribute, sizeof attribute, 0), 0);
    return path;
  }
  static std::string refusal_of_nobody(const std::string& helper) {
    return run_as(kNobody, [&] { return refusal({.helper = helper}); });
  }
};

TEST_F(HelperPrivilegesNetTest, AHelperWithoutThePrivilegeIsNamed) {
  EXPECT_THAT(
      refusal_of_nobody(failing_helper(0755)),
      AllOf(HasSubstr("exited with status 1 and says: Operation not permitted; '"),
            HasSubstr("has neither the set-user-ID bit of root nor"), HasSubstr("tools/install-helper")));
}

TEST_F(HelperPrivilegesNetTest, AHelperThatSpeaksOfSomethingElseIsNotExplained) {
  EXPECT_THAT(refusal_of_nobody(failing_helper(0755, "access denied by acl file")),
              EndsWith("exited with status 1 and says: access denied by acl file"));
}

TEST_F(HelperPrivilegesNetTest, WhatStartsTheHelperNeedsNoPrivilegeHere) {
  EXPECT_THAT(refusal_of_nobody(failing_helper(0755) + " -n"),
              EndsWith("exited with status 1 and says: Operation not permitted"));
}

TEST_F(HelperPrivilegesNetTest, AHelperWithOptionsOfItsOwnNeedsThePrivilege) {
  EXPECT_THAT(refusal_of_nobody(failing_helper(0755) + " --br=br1"),
              HasSubstr("has neither the set-user-ID bit of root nor"));
}

TEST_F(HelperPrivilegesNetTest, AnotherUsersBitIsNoPrivilege) {
  const std::string helper = failing_helper(0755);
  ASSERT_EQ(::chown(helper.c_str(), kNobody, kNobody), 0);
  ASSERT_EQ(::chmod(helper.c_str(), 04755), 0);
  EXPECT_THAT(refusal_of_nobody(helper), HasSubstr("has neither the set-user-ID bit of root nor"));
}

TEST_F(HelperPrivilegesNetTest, AHelperWithThePrivilegeFailsForReasonsOfItsOwn) {
  EXPECT_THAT(refusal_of_nobody(failing_helper(04755)),
              EndsWith("exited with status 1 and says: Operation not permitted"));
}

TEST_F(HelperPrivilegesNetTest, AFileCapabilityIsThePrivilegeToo) {
  EXPECT_THAT(refusal_of_nobody(failing_helper_with(CAP_NET_ADMIN, true)), EndsWith("exited with status 1"));
}

TEST_F(HelperPrivilegesNetTest, AnotherFileCapabilityIsNot) {
  EXPECT_THAT(refusal_of_nobody(failing_helper_with(CAP_NET_RAW, true)), HasSubstr("has neither"));
}

TEST_F(HelperPrivilegesNetTest, ANosuidMountIsNamed) {
  mount_on_directory(MS_NOSUID);
  EXPECT_THAT(refusal_of_nobody(failing_helper(04755)),
              AllOf(HasSubstr("says: Operation not permitted; "), HasSubstr("mounted with nosuid")));
}

TEST_F(HelperPrivilegesNetTest, NoNewPrivsIsNamed) {
  const std::string helper = failing_helper(04755);
  EXPECT_THAT(run_as(kNobody,
                     [&] {
                       ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
                       return refusal({.helper = helper}) + "\n" + refusal({.helper = "env -- " + helper});
                     }),
              ::testing::MatchesRegex(".*says: Operation not permitted; no_new_privs is set here.*\n"
                                      ".*'env' .*says: Operation not permitted; no_new_privs is set here.*"));
}

TEST_F(HelperPrivilegesNetTest, AHelperThatBecameRootIsNotWaitedForThoughItCannotBeKilled) {
  const std::string setpriv = directory_.path() + "/setpriv";
  std::filesystem::copy_file("/usr/bin/setpriv", setpriv);
  ASSERT_EQ(::chmod(setpriv.c_str(), 04755), 0);
  const auto begin = std::chrono::steady_clock::now();
  EXPECT_THAT(
      run_as(kNobody,
             [&] {
               return refusal({.helper = setpriv + " --reuid 0 /bin/sh -c 'exec sleep 4'", .limit = 500ms});
             }),
      HasSubstr("sent no tap in 0.5 s"));
  EXPECT_LT(std::chrono::steady_clock::now() - begin, 3s);
}

TEST_F(HelperPrivilegesNetTest, RootNeedsNothingOfTheFile) {
  EXPECT_THAT(refusal({.helper = failing_helper(0755)}),
              EndsWith("exited with status 1 and says: Operation not permitted"));
}

TEST_F(HelperPrivilegesNetTest, ABoundingSetWithoutTheCapabilityIsNamed) {
  const auto without = [](const std::string& helper) {
    return run_as(0, [&] {
      ::prctl(PR_CAPBSET_DROP, CAP_NET_ADMIN, 0, 0, 0);
      return refusal({.helper = helper});
    });
  };
  EXPECT_THAT(without(failing_helper(04755)),
              HasSubstr("says: Operation not permitted; CAP_NET_ADMIN is not in the bounding"));
  ASSERT_TRUE(std::filesystem::remove(directory_.path() + "/helper"));
  // This one the kernel does not even start.
  EXPECT_THAT(without(failing_helper_with(CAP_NET_ADMIN, true)),
              HasSubstr("cannot be started: CAP_NET_ADMIN is not in the bounding set"));
}

// Debian's QEMU helper, with an /etc of the test's own.
class QemuHelperTest : public HelperPrivilegesNetTest {
 protected:
  void SetUp() override {
    HelperPrivilegesNetTest::SetUp();
    if (IsSkipped() || HasFatalFailure()) {
      return;
    }
    if (::access(kHelperOfQemu, X_OK) != 0) {
      TAPIR_SKIP_TEST("needs QEMU's bridge helper (package qemu-system-common)");
    }
    ASSERT_EQ(::mount("tmpfs", "/etc", "tmpfs", 0, "mode=755"), 0);
    etc_is_own_ = true;
    ASSERT_EQ(::mkdir("/etc/qemu", 0755), 0);
    std::ofstream("/etc/qemu/bridge.conf") << "allow br0\n";
    const UniqueFd socket(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    for (const char* bridge : {"br0", "br1"}) {
      ASSERT_EQ(::ioctl(socket.get(), SIOCBRADDBR, bridge), 0) << std::strerror(errno);
    }
  }
  void TearDown() override {
    if (etc_is_own_) {
      EXPECT_EQ(::umount2("/etc", MNT_DETACH), 0);
    }
    HelperPrivilegesNetTest::TearDown();
  }

  // The bridge that the tap of this request ends on, or the error.
  static std::string bridge_of(const BridgeRequest& request) {
    auto taps = request_taps(request);
    if (!taps) {
      return taps.error().message();
    }
    const auto tap = Tap::adopt(taps->front().release(), {});
    if (!tap) {
      return tap.error().message();
    }
    return std::filesystem::read_symlink("/sys/class/net/" + tap->name() + "/master").filename().string() +
           (tap->features().vnet_header ? "" : " without a vnet header");
  }

 private:
  bool etc_is_own_ = false;
};

TEST_F(QemuHelperTest, PutsTheTapOnTheBridge) {
  const std::string helper = kHelperOfQemu;
  EXPECT_EQ(bridge_of({.helper = helper}), "br0");
  EXPECT_EQ(bridge_of({.helper = helper, .vnet_header = false}), "br0 without a vnet header");
  EXPECT_EQ(bridge_of({.bridge = "br1", .helper = helper + " --br=br0"}), "br0");
  EXPECT_EQ(bridge_of({.helper = "env -- " + helper}), "br0");
}

TEST_F(QemuHelperTest, IsNotToldWhatItDoesNotKnow) {
  EXPECT_EQ(bridge_of({.helper = kHelperOfQemu, .mac = MacAddress{{0x52, 0x54, 0, 1, 2, 3}}}), "br0");
  EXPECT_THAT(bridge_of({.helper = kHelperOfQemu, .queues = 2}), HasSubstr("queues=2: "));
}

TEST_F(QemuHelperTest, IsQuotedWhenItRefuses) {
  EXPECT_EQ(bridge_of({.bridge = "br1", .helper = kHelperOfQemu}),
            "bridge 'br1': the helper '/usr/lib/qemu/qemu-bridge-helper' exited with status 1 and says: "
            "access denied by acl file");
}

TEST_F(QemuHelperTest, ServesAnOrdinaryUserWhenItIsSetUserId) {
  const std::string helper = directory_.path() + "/qemu-bridge-helper";
  std::filesystem::copy_file(kHelperOfQemu, helper);
  ASSERT_EQ(::chmod(helper.c_str(), 04755), 0);
  EXPECT_EQ(run_as(kNobody, [&] { return bridge_of({.helper = helper}); }), "br0");
  ASSERT_EQ(::chmod(helper.c_str(), 0755), 0);
  EXPECT_THAT(run_as(kNobody, [&] { return bridge_of({.helper = helper}); }),
              AllOf(HasSubstr("failed to create tun device: Operation not permitted; '" + helper + "'"),
                    HasSubstr("has neither the set-user-ID bit of root nor")));
}

}  // namespace
}  // namespace tapir::net
