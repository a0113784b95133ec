// SPDX-License-Identifier: Apache-2.0
#include "helper/user_database.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

namespace tapir::helper {
namespace {

using ::testing::ElementsAre;

UserDatabase small_world() {
  return UserDatabase::from_text(
      "root:x:0:0:root:/root:/bin/bash\n"
      "alice:x:1000:1000:Alice,,,:/home/alice:/bin/bash\n"
      "broken:x:12\n"
      "hex:x:0x10:5::/:\n"
      "minus:x:-1:5::/:\n"
      "largest:x:4294967295:5::/:\n"
      "alice:x:666:666:a second one:/:\n"
      "+nis::::::\n"
      ":x:7:7::/:\n"
      "1234:x:77:1000::/:\n"
      "last:x:1001:50:no newline:/:",
      "root:x:0:\n"
      "alice:x:1000:\n"
      "lab:x:50:bob,alice,last\n"
      "alicelike:x:51:alice2,xalice\n"
      "again:x:50:alice\n"
      "empty:x:52\n"
      "kvm:*:53:alice");
}

TEST(ParseId, TakesDecimalDigitsOnly) {
  EXPECT_EQ(parse_id("0"), 0U);
  EXPECT_EQ(parse_id("007"), 7U);
  EXPECT_EQ(parse_id("4294967294"), 4294967294U);
  for (const std::string_view bad : {"", "4294967295", "4294967296", "18446744073709551616", "-1", "+1",
                                     "0x10", "1 ", " 1", "1a", "1.0"}) {
    EXPECT_EQ(parse_id(bad), std::nullopt) << bad;
  }
}

TEST(UserDatabase, FindsUsersAndGroups) {
  UserDatabase accounts = small_world();
  EXPECT_EQ(accounts.find_user("root").value(), 0U);
  EXPECT_EQ(accounts.find_user("alice").value(), 1000U) << "the first of two entries";
  EXPECT_EQ(accounts.find_user("last").value(), 1001U);
  EXPECT_EQ(accounts.find_group("lab").value(), 50U);
  EXPECT_EQ(accounts.find_group("kvm").value(), 53U);
}

TEST(UserDatabase, WhatIsNotWellFormedIsAbsentAndTheErrorDoesNotRepeatTheName) {
  UserDatabase accounts = small_world();
  for (const std::string_view name :
       {"broken", "hex", "minus", "largest", "+nis", "", "bob", "alic", "alice2", "alice:x", "Alice"}) {
    const auto user = accounts.find_user(name);
    ASSERT_FALSE(user) << name;
    EXPECT_EQ(user.error().message(), "no user of that name in /etc/passwd (a number needs no entry)");
  }
  const auto group = accounts.find_group("empty");
  ASSERT_FALSE(group);
  EXPECT_EQ(group.error().message(), "no group of that name in /etc/group (a number needs no entry)");
}

TEST(UserDatabase, Hlp11AnAccountHasItsPrimaryGroupAndThoseThatListItsWholeName) {
  UserDatabase accounts = small_world();
  const auto alice = accounts.find_account("alice");
  ASSERT_TRUE(alice);
  EXPECT_EQ(alice->uid, 1000U);
  EXPECT_THAT(alice->groups, ElementsAre(1000, 50, 53));
  EXPECT_THAT(accounts.find_account("1000")->groups, ElementsAre(1000, 50, 53)) << "a number is a uid";
  EXPECT_THAT(accounts.find_account("last")->groups, ElementsAre(50)) << "the primary group only once";
  EXPECT_EQ(accounts.find_account("1234").error().message(), "no user 1234 in /etc/passwd");
  EXPECT_EQ(accounts.find_account("bob").error().message(), "no user bob in /etc/passwd");
}

TEST(UserDatabase, DescribesNumbersByTheirNames) {
  UserDatabase accounts = small_world();
  EXPECT_EQ(accounts.describe_user(1000), "alice (1000)");
  EXPECT_EQ(accounts.describe_user(4000), "4000");
  EXPECT_EQ(accounts.describe_group(50), "lab (50)");
  EXPECT_EQ(accounts.describe_group(4000), "4000");
}

TEST(UserDatabase, ReadsTheFilesOfTheSystem) {
  UserDatabase accounts;
  EXPECT_EQ(accounts.find_user("root").value(), 0U);
  EXPECT_EQ(accounts.find_group("root").value(), 0U);
}

TEST(UserDatabase, AFileThatCannotBeReadIsAnErrorOnlyWhenItIsNeeded) {
  UserDatabase accounts("/nonexistent/passwd", "/etc");
  EXPECT_EQ(accounts.find_user("root").error().message(), "/nonexistent/passwd: No such file or directory");
  EXPECT_EQ(accounts.find_group("root").error().message(), "/etc cannot be read: Is a directory");
  EXPECT_FALSE(accounts.find_account("root"));
  EXPECT_EQ(accounts.describe_user(0), "0");
}

}  // namespace
}  // namespace tapir::helper
