// SPDX-License-Identifier: Apache-2.0
#include "helper/privileges.h"

#include <gmock/gmock.h>
#include <grp.h>
#include <gtest/gtest.h>
#include <linux/capability.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <string>
#include <vector>

#include "net/testing/must_run.h"

namespace tapir::helper {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

constexpr CapabilitySet kNetAdmin = CapabilitySet{1} << CAP_NET_ADMIN;
constexpr CapabilitySet kAll = ~CapabilitySet{0};

TEST(MissingNetAdmin, IsExplainedByTheFirstCauseThatIsThere) {
  Credentials before;
  before.bounding = kAll;
  EXPECT_THAT(explain_missing_net_admin(before, false), HasSubstr("tools/install-helper"));
  EXPECT_THAT(explain_missing_net_admin(before, true), HasSubstr("nosuid"));
  before.bounding = kAll & ~kNetAdmin;
  EXPECT_THAT(explain_missing_net_admin(before, true), HasSubstr("bounding set"));
  before.no_new_privs = true;
  EXPECT_THAT(explain_missing_net_admin(before, true), HasSubstr("no_new_privs"));
  EXPECT_THAT(explain_missing_net_admin(before, true), StartsWith("it has no CAP_NET_ADMIN"));
}

// Runs `body` in a child, since there is no way back; its text is what is wrong, empty if nothing.
std::string in_child(std::string (*body)()) {
  std::array<int, 2> ends{};
  if (::pipe(ends.data()) < 0) {
    return "pipe";
  }
  const pid_t child = ::fork();
  if (child == 0) {
    const std::string text = body();
    ::_exit(::write(ends[1], text.data(), text.size()) == static_cast<ssize_t>(text.size()) ? 0 : 1);
  }
  ::close(ends[1]);
  std::string text(4096, '\0');
  const ssize_t size = ::read(ends[0], text.data(), text.size());
  ::close(ends[0]);
  int status = -1;
  ::waitpid(child, &status, 0);
  text.resize(size > 0 ? static_cast<std::size_t>(size) : 0);
  return status == 0 ? text : "the child failed: " + text;
}

// Both steps, and that nothing can be had back.
std::string give_away_everything(uid_t caller) {
  auto privileges = Privileges::reduce();
  if (!privileges) {
    return privileges.error().message();
  }
  if (!privileges->check_net_admin()) {
    return privileges->check_net_admin().error().message();
  }
  const auto reduced = read_credentials();
  if (reduced->uids != std::array{caller, caller, caller, caller} || reduced->permitted != kNetAdmin ||
      reduced->effective != kNetAdmin || reduced->bounding != 0 || reduced->inheritable != 0) {
    return "not reduced";
  }
  if (::prctl(PR_GET_DUMPABLE) != 0) {
    return "dumpable";
  }
  if (const auto dropped = privileges->drop(); !dropped) {
    return dropped.error().message();
  }
  const auto left = read_credentials();
  if (left->permitted != 0 || left->effective != 0) {
    return "not dropped";
  }
  return caller != 0 && ::setresuid(0, 0, 0) == 0 ? "root again" : "";
}

class PrivilegesOfRoot : public ::testing::Test {
 protected:
  void SetUp() override {
    if (::geteuid() != 0) {
      TAPIR_SKIP_TEST("needs root, whose privileges are given away");
    }
  }
};

TEST_F(PrivilegesOfRoot, GoDownToOneAndThenToNone) {
  EXPECT_EQ(in_child([] { return give_away_everything(0); }), "");
}

TEST_F(PrivilegesOfRoot, AreNotTheCallersWhenTheProgramIsSetUserId) {
  EXPECT_EQ(in_child([]() -> std::string {
              const std::vector<gid_t> groups{24, 27};
              if (::setgroups(groups.size(), groups.data()) < 0 || ::setresgid(100, 100, 100) < 0 ||
                  ::setresuid(1000, 0, 0) < 0) {
                return "cannot play a set-user-ID program";
              }
              std::string wrong = give_away_everything(1000);
              const auto left = read_credentials();
              return left->groups == groups && left->real_gid() == 100 ? wrong : wrong + " groups changed";
            }),
            "");
}

TEST_F(PrivilegesOfRoot, AreNoneForAnOrdinaryUserWhoIsToldSo) {
  EXPECT_THAT(in_child([]() -> std::string {
                if (::setresuid(1000, 1000, 1000) < 0) {
                  return "cannot play a user";
                }
                const auto privileges = Privileges::reduce();
                return privileges ? privileges->check_net_admin().error().message()
                                  : privileges.error().message();
              }),
              StartsWith("it has no CAP_NET_ADMIN"));
}

}  // namespace
}  // namespace tapir::helper
