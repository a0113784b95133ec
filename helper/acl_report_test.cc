// SPDX-License-Identifier: Apache-2.0
#include "helper/acl_report.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <string>
#include <vector>

#include "helper/acl_parser.h"
#include "helper/testing/config_folder.h"

namespace tapir::helper {
namespace {

using ::testing::ContainsRegex;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

UserDatabase accounts() {
  return UserDatabase::from_text("root:x:0:0::/:\nalice:x:54000:54000::/:\nbob:x:54001:54001::/:\n",
                                 "root:x:0:\nalice:x:54000:\nlab:x:54010:alice\nkvm:x:54011:\n");
}

// A file of the system's, as the report is of files with these paths.
Acl parsed(std::vector<std::pair<AclFile, std::string>> files) {
  Acl acl;
  UserDatabase names = accounts();
  for (auto& [file, text] : files) {
    auto result = parse_acl(text, file.path, names);
    EXPECT_TRUE(result);
    for (Rule& rule : result->rules) {
      rule.file = acl.files.size();
      acl.rules.push_back(rule);
    }
    acl.files.push_back(file);
  }
  return acl;
}

TEST(AclReport, TellsWhoGetsWhat) {
  const Acl acl =
      parsed({{{"/etc/tapir/bridge.conf", {0, 0, 0100644}, std::nullopt},
               "allow br0\nlimit br0 group lab 2\nisolate br0\nlock all\nvlan br0 100\n"
               "allow br2\ndeny br2\n"},
              {{"/etc/tapir/alice.conf", {0, 54000, 0100640}, 0}, "allow br1\nallow br1 user 99\n"}});
  UserDatabase names = accounts();
  EXPECT_EQ(
      describe_acl(acl, names),
      "files:\n"
      "  /etc/tapir/bridge.conf   0644 root (0), group root (0)\n"
      "  /etc/tapir/alice.conf    0640 root (0), group alice (54000)   included by /etc/tapir/bridge.conf\n"
      "bridge br0:\n"
      "  allowed                     everybody           /etc/tapir/bridge.conf:1\n"
      "  limit 2 per user            group lab (54010)   /etc/tapir/bridge.conf:2\n"
      "  isolated                    everybody           /etc/tapir/bridge.conf:3\n"
      "  locked to its MAC address   everybody           /etc/tapir/bridge.conf:4\n"
      "  VLAN 100                    everybody           /etc/tapir/bridge.conf:5\n"
      "bridge br1:\n"
      "  locked to its MAC address   everybody                         /etc/tapir/bridge.conf:4\n"
      "  allowed                     everybody who may read the file   /etc/tapir/alice.conf:1\n"
      "  allowed                     user 99 who may read the file     /etc/tapir/alice.conf:2\n"
      "bridge br2: nobody\n"
      "  locked to its MAC address   everybody   /etc/tapir/bridge.conf:4\n"
      "  allowed                     everybody   /etc/tapir/bridge.conf:6\n"
      "  denied                      everybody   /etc/tapir/bridge.conf:7\n"
      "any other bridge: nobody\n"
      "  locked to its MAC address   everybody   /etc/tapir/bridge.conf:4\n");
}

TEST(AclReport, ADenyOfSomeIsNotADenyOfAll) {
  UserDatabase names = accounts();
  const Acl some = parsed({{{"/c", {0, 0, 0644}, std::nullopt}, "allow br0\ndeny br0 user bob\n"}});
  EXPECT_THAT(describe_acl(some, names), HasSubstr("bridge br0:\n"));
  const Acl hidden = parsed({{{"/c", {0, 0, 0640}, std::nullopt}, "allow br0\ndeny br0\n"}});
  EXPECT_THAT(describe_acl(hidden, names), HasSubstr("bridge br0:\n"));
}

TEST(AclReport, ADenyLineInAFileThatNotEverybodyMayReadIsAMistake) {
  const AclFile main{"/main", {0, 0, 0644}, std::nullopt};
  const std::string reason =
      ": a deny line belongs in a file that everybody may read, as those who include it must be; it does not "
      "bind "
      "callers for whom the file is skipped";
  EXPECT_THAT(find_hidden_denials(parsed({{main, "deny br0\n"}, {{"/x", {0, 0, 0444}, 0}, "deny all\n"}})),
              IsEmpty());
  EXPECT_THAT(
      find_hidden_denials(parsed({{main, ""}, {{"/x", {0, 5, 0640}, 0}, "allow br0\ndeny br0\ndeny all\n"}})),
      ElementsAre("/x:2" + reason, "/x:3" + reason));
  EXPECT_THAT(find_hidden_denials(parsed({{main, ""}, {{"/x", {0, 5, 0604}, 0}, "deny all\n"}})),
              ElementsAre("/x:1" + reason));
  EXPECT_THAT(
      find_hidden_denials(parsed(
          {{main, ""}, {{"/x", {0, 5, 0640}, 0}, "allow br0\n"}, {{"/y", {0, 0, 0644}, 1}, "deny all\n"}})),
      ElementsAre("/y:1" + reason))
      << "hidden by the file that includes it";
  EXPECT_THAT(find_hidden_denials(parsed({{main, ""},
                                          {{"/x", {0, 5, 0640}, 0}, "allow br0\n"},
                                          {{"/y", {0, 0, 0644}, 1}, "deny all\n"},
                                          {{"/y", {0, 0, 0644}, 0}, "deny all\n"}})),
              IsEmpty())
      << "and seen on another way";
}

class AclReportOnDisk : public ::testing::Test {
 protected:
  AclReport check(const std::optional<std::string>& user = std::nullopt) {
    UserDatabase names = accounts();
    return check_acl(main(), user, names, ::geteuid());
  }
  std::string main() const { return folder_.path("bridge.conf"); }

  testing::ConfigFolder folder_;
};

TEST_F(AclReportOnDisk, TellsAUserWhatAndWhy) {
  const std::string bob = folder_.write("bob.conf", "allow br2\n", 0600);
  folder_.write("bridge.conf",
                "allow br0\nlimit br0 group lab 1\nisolate br0\nlock br0\nvlan br0 7\ninclude " + bob +
                    "\ndeny br1 group lab\nallow br1\n");
  const AclReport report = check("alice");
  EXPECT_THAT(report.mistakes, IsEmpty());
  EXPECT_EQ(
      report.text,
      "user alice (54000), in groups alice (54000), lab (54010):\n"
      "  bridge br0         yes, limit 1, isolated, locked to its MAC address, VLAN 7   allowed at " +
          main() +
          ":1\n"
          "  bridge br1         no                                                          denied at " +
          main() +
          ":7\n"
          "  bridge br2         no                                                          no allow line "
          "of " +
          main() +
          " covers it\n"
          "  any other bridge   no                                                          no allow line "
          "of " +
          main() +
          " covers it\n"
          "not for this user, who may not read it: " +
          bob + "\n");
  const std::string of_bob = check("54001").text;
  EXPECT_THAT(of_bob, HasSubstr("user bob (54001), in groups 54001:\n"));
  EXPECT_THAT(of_bob, ContainsRegex("bridge br1 +yes +allowed at " + main() + ":8\n"));
}

TEST_F(AclReportOnDisk, AMistakeIsReportedWithItsPlace) {
  folder_.write("bridge.conf", "allow br0\nalow br1\n");
  for (const AclReport& report : {check(), check("alice")}) {
    EXPECT_EQ(report.text, "");
    ASSERT_EQ(report.mistakes.size(), 1U);
    EXPECT_THAT(report.mistakes[0], HasSubstr(main() + ":2: the first word is not"));
  }
}

TEST_F(AclReportOnDisk, AHiddenDenialIsReportedBesideTheTable) {
  const std::string hidden = folder_.write("hidden.conf", "deny br0\n", 0640);
  folder_.write("bridge.conf", "allow br0\ninclude " + hidden + "\n");
  const AclReport report = check();
  EXPECT_THAT(report.text, HasSubstr("bridge br0:\n"));
  ASSERT_EQ(report.mistakes.size(), 1U);
  EXPECT_THAT(report.mistakes[0], HasSubstr(hidden + ":1: a deny line"));
}

TEST_F(AclReportOnDisk, AUserForWhomTheConfigurationFailsIsRefusedEverything) {
  folder_.write("bridge.conf", "allow br0\n", 0600);
  EXPECT_THAT(check().mistakes, IsEmpty());
  const AclReport report = check("alice");
  EXPECT_EQ(report.text, "user alice (54000): refused on every bridge\n");
  EXPECT_THAT(report.mistakes, ElementsAre(main() + ": its mode does not let uid 54000 read it"));
}

TEST_F(AclReportOnDisk, AnUnknownUserIsAMistake) {
  folder_.write("bridge.conf", "allow br0\n");
  EXPECT_THAT(check("carol").mistakes, ElementsAre("no user carol in /etc/passwd"));
}

}  // namespace
}  // namespace tapir::helper
