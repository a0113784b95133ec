// SPDX-License-Identifier: Apache-2.0
#include "net/helper_privileges.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace tapir::net {
namespace {

using ::testing::HasSubstr;

constexpr HelperPrivileges kInstalled{.setuid_root = true, .file_is_readable = true};

std::string explanation(const HelperPrivileges& privileges) {
  return explain_privileges(privileges, "/x/helper").value_or("nothing");
}

TEST(ExplainPrivileges, AHelperWithEitherPrivilegeIsFine) {
  EXPECT_EQ(explanation(kInstalled), "nothing");
  EXPECT_EQ(explanation({.file_capability = true, .file_is_readable = true}), "nothing");
}

TEST(ExplainPrivileges, AHelperWithoutPrivilegeIsToldHowToGetIt) {
  EXPECT_EQ(explanation({.file_is_readable = true}),
            "'/x/helper' has neither the set-user-ID bit of root nor the file capability cap_net_admin; "
            "tools/install-helper, run as root, installs tapir's with one");
}

TEST(ExplainPrivileges, ANosuidMountIsNamed) {
  HelperPrivileges privileges = kInstalled;
  privileges.nosuid_mount = true;
  EXPECT_THAT(explanation(privileges), HasSubstr("'/x/helper' lies on a file system mounted with nosuid"));
}

TEST(ExplainPrivileges, NoNewPrivsIsNamed) {
  HelperPrivileges privileges = kInstalled;
  privileges.no_new_privs = true;
  EXPECT_THAT(explanation(privileges), HasSubstr("no_new_privs is set here"));
  privileges.file_is_readable = false;
  EXPECT_THAT(explanation(privileges), HasSubstr("no_new_privs is set here"));
}

TEST(ExplainPrivileges, ABoundingSetWithoutTheCapabilityIsNamedEvenToRoot) {
  HelperPrivileges privileges = kInstalled;
  privileges.in_bounding_set = false;
  privileges.inherited = true;
  EXPECT_THAT(explanation(privileges), HasSubstr("CAP_NET_ADMIN is not in the bounding set"));
}

TEST(ExplainPrivileges, WhoeverPassesThePrivilegeOnNeedsNoneOfTheFile) {
  EXPECT_EQ(explanation({.no_new_privs = true, .inherited = true, .file_is_readable = true}), "nothing");
}

TEST(ExplainPrivileges, NothingIsSaidOfAFileThatIsNotKnown) {
  EXPECT_EQ(explanation({}), "nothing");
}

TEST(LookAtPrivileges, AProgramThatIsSearchedForIsNoFileHere) {
  EXPECT_FALSE(look_at_privileges("sudo").file_is_readable);
  EXPECT_FALSE(look_at_privileges("/no/such/helper").file_is_readable);
  EXPECT_TRUE(look_at_privileges("/bin/sh").file_is_readable);
}

TEST(LookAtPrivileges, AnOrdinaryProgramHasNone) {
  const HelperPrivileges privileges = look_at_privileges("/bin/sh");
  EXPECT_FALSE(privileges.setuid_root);
  EXPECT_FALSE(privileges.file_capability);
}

}  // namespace
}  // namespace tapir::net
