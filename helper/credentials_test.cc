// SPDX-License-Identifier: Apache-2.0
#include "helper/credentials.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <linux/capability.h>
#include <unistd.h>

#include <string>
#include <string_view>

namespace tapir::helper {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

// Of a program that is set-user-ID root, just started by a user in three more groups.
constexpr std::string_view kStatus =
    "Name:\ttapir-bridge-he\n"
    "Umask:\t0022\n"
    "State:\tR (running)\n"
    "Uid:\t1000\t0\t0\t0\n"
    "Gid:\t100\t100\t100\t100\n"
    "FDSize:\t64\n"
    "Groups:\t24 27 4294967294 \n"
    "NStgid:\t4711\n"
    "CapInh:\t0000000000000400\n"
    "CapPrm:\t000001ffffffffff\n"
    "CapEff:\t000001fffffffffe\n"
    "CapBnd:\t000001fffffffffd\n"
    "CapAmb:\t0000000000000001\n"
    "NoNewPrivs:\t0\n"
    "Seccomp:\t0\n";

std::string with(std::string_view line, std::string_view replacement) {
  std::string status(kStatus);
  const auto position = status.find(line);
  EXPECT_NE(position, std::string::npos) << line;
  return status.replace(position, line.size(), replacement);
}

std::string error_of(const std::string& status) {
  const auto parsed = parse_credentials(status);
  return parsed ? "no error" : parsed.error().message();
}

TEST(ParseCredentials, ReadsWhatTheKernelSays) {
  const auto parsed = parse_credentials(kStatus);
  ASSERT_TRUE(parsed) << parsed.error().message();
  EXPECT_THAT(parsed->uids, ElementsAre(1000, 0, 0, 0));
  EXPECT_THAT(parsed->gids, ElementsAre(100, 100, 100, 100));
  EXPECT_THAT(parsed->groups, ElementsAre(24, 27, 4294967294));
  EXPECT_EQ(parsed->inheritable, 0x400U);
  EXPECT_EQ(parsed->permitted, 0x1ff'ffff'ffffU);
  EXPECT_EQ(parsed->effective, 0x1ff'ffff'fffeU);
  EXPECT_EQ(parsed->bounding, 0x1ff'ffff'fffdU);
  EXPECT_EQ(parsed->ambient, 1U);
  EXPECT_FALSE(parsed->no_new_privs);
  EXPECT_EQ(parsed->real_uid(), 1000U);
  EXPECT_EQ(parsed->real_gid(), 100U);
  EXPECT_FALSE(parsed->has_one_uid());
  EXPECT_TRUE(parsed->has_one_gid());
}

TEST(ParseCredentials, ReadsAProcessWithoutGroups) {
  for (const std::string_view line : {"Groups:\t \n", "Groups:\t\n"}) {
    const auto parsed = parse_credentials(with("Groups:\t24 27 4294967294 \n", line));
    ASSERT_TRUE(parsed) << parsed.error().message();
    EXPECT_TRUE(parsed->groups.empty());
  }
}

TEST(ParseCredentials, ReadsItsOwnProcess) {
  const auto own = read_credentials();
  ASSERT_TRUE(own) << own.error().message();
  EXPECT_EQ(own->real_uid(), ::getuid());
  EXPECT_EQ(own->uids[1], ::geteuid());
  EXPECT_EQ(own->real_gid(), ::getgid());
}

TEST(ParseCredentials, AMissingLineIsAnErrorThatNamesIt) {
  EXPECT_THAT(error_of(with("Uid:\t1000\t0\t0\t0\n", "")), HasSubstr("'Uid'"));
  EXPECT_THAT(error_of(with("Gid:\t100\t100\t100\t100\n", "")), HasSubstr("'Gid'"));
  EXPECT_THAT(error_of(with("Groups:\t24 27 4294967294 \n", "")), HasSubstr("'Groups'"));
  EXPECT_THAT(error_of(with("CapInh:\t0000000000000400\n", "")), HasSubstr("'CapInh'"));
  EXPECT_THAT(error_of(with("CapPrm:\t000001ffffffffff\n", "")), HasSubstr("'CapPrm'"));
  EXPECT_THAT(error_of(with("CapEff:\t000001fffffffffe\n", "")), HasSubstr("'CapEff'"));
  EXPECT_THAT(error_of(with("CapBnd:\t000001fffffffffd\n", "")), HasSubstr("'CapBnd'"));
  EXPECT_THAT(error_of(with("CapAmb:\t0000000000000001\n", "")), HasSubstr("'CapAmb'"));
  EXPECT_THAT(error_of(with("NoNewPrivs:\t0\n", "")), HasSubstr("'NoNewPrivs'"));
  EXPECT_THAT(error_of(""), HasSubstr("'Uid'"));
}

TEST(ParseCredentials, ALineThatIsThereTwiceIsAnError) {
  EXPECT_THAT(error_of(std::string(kStatus) + "Uid:\t0\t0\t0\t0\n"), HasSubstr("'Uid'"));
  EXPECT_THAT(error_of(std::string(kStatus) + "CapPrm:\t0000000000000000\n"), HasSubstr("'CapPrm'"));
}

TEST(ParseCredentials, AnythingButTheKernelsFormIsAnError) {
  for (const std::string_view line :
       {"Uid:\t1000\t0\t0\n", "Uid:\t1000\t0\t0\t0\t0\n", "Uid:\t1000 0 0 0\n", "Uid:\t-1\t0\t0\t0\n",
        "Uid:\t4294967296\t0\t0\t0\n", "Uid: 1000\t0\t0\t0\n", "Uid:\t1000\t\t0\t0\n", "Uid:\t\n"}) {
    EXPECT_THAT(error_of(with("Uid:\t1000\t0\t0\t0\n", line)), HasSubstr("'Uid'")) << line;
  }
  for (const std::string_view line :
       {"CapEff:\t1\n", "CapEff:\t0x00000000000001\n", "CapEff:\t00000000000000001\n",
        "CapEff:\t000001fffffffffg\n", "CapEff:\t-00001fffffffffe\n", "CapEff:\t\n",
        "CapEff:\t000001fffffffffe \n"}) {
    EXPECT_THAT(error_of(with("CapEff:\t000001fffffffffe\n", line)), HasSubstr("'CapEff'")) << line;
  }
  EXPECT_THAT(error_of(with("Groups:\t24 27", "Groups:\t24  27")), HasSubstr("'Groups'"));
  EXPECT_THAT(error_of(with("NoNewPrivs:\t0\n", "NoNewPrivs:\t2\n")), HasSubstr("'NoNewPrivs'"));
}

constexpr CapabilitySet kNetAdmin = CapabilitySet{1} << CAP_NET_ADMIN;

TEST(ReducedCredentials, OfASetUserIdProgramAreTheCallersWithOneCapability) {
  const Credentials after = reduced(parse_credentials(kStatus).value(), kNetAdmin);
  EXPECT_THAT(after.uids, ElementsAre(1000, 1000, 1000, 1000));
  EXPECT_THAT(after.gids, ElementsAre(100, 100, 100, 100));
  EXPECT_THAT(after.groups, ElementsAre(24, 27, 4294967294));
  EXPECT_EQ(after.inheritable, 0U);
  EXPECT_EQ(after.permitted, kNetAdmin);
  EXPECT_EQ(after.effective, kNetAdmin);
  EXPECT_EQ(after.bounding, 0U);
  EXPECT_EQ(after.ambient, 0U);
  EXPECT_TRUE(after.no_new_privs);
}

TEST(ReducedCredentials, KeepTheBoundingSetThatTheProcessMayNotEmpty) {
  Credentials before = parse_credentials(kStatus).value();
  before.effective = kNetAdmin;
  EXPECT_EQ(reduced(before, kNetAdmin).bounding, before.bounding);
}

TEST(ReducedCredentials, OfAProcessWithNothingAreNothing) {
  Credentials before = parse_credentials(kStatus).value();
  before.permitted = 0;
  const Credentials after = reduced(before, 0);
  EXPECT_EQ(after.permitted, 0U);
  EXPECT_EQ(after.effective, 0U);
}

std::string difference(void (*change)(Credentials&)) {
  const Credentials expected = reduced(parse_credentials(kStatus).value(), kNetAdmin);
  Credentials actual = expected;
  change(actual);
  const auto status = expect_credentials(actual, expected);
  return status ? "none" : status.error().message();
}

TEST(ExpectCredentials, TakesOnlyWhatIsRightInEveryWord) {
  EXPECT_EQ(difference([](Credentials&) {}), "none");
  EXPECT_THAT(difference([](Credentials& c) { c.uids[2] = 0; }),
              HasSubstr("Uid '1000 1000 0 1000' where '1000 1000 1000 1000' is right"));
  EXPECT_THAT(difference([](Credentials& c) { c.gids[3] = 0; }), HasSubstr("Gid '100 100 100 0'"));
  EXPECT_THAT(difference([](Credentials& c) { c.groups.pop_back(); }), HasSubstr("Groups '24 27'"));
  EXPECT_THAT(difference([](Credentials& c) { c.groups.push_back(0); }), HasSubstr("Groups"));
  EXPECT_THAT(difference([](Credentials& c) { c.inheritable = 1; }),
              HasSubstr("CapInh '1' where '0' is right"));
  EXPECT_THAT(difference([](Credentials& c) { c.permitted = ~CapabilitySet{0}; }),
              HasSubstr("CapPrm 'ffffffffffffffff' where '1000' is right"));
  EXPECT_THAT(difference([](Credentials& c) { c.effective = 0; }), HasSubstr("CapEff '0'"));
  EXPECT_THAT(difference([](Credentials& c) { c.bounding = 2; }), HasSubstr("CapBnd '2'"));
  EXPECT_THAT(difference([](Credentials& c) { c.ambient = 4; }), HasSubstr("CapAmb '4'"));
  EXPECT_THAT(difference([](Credentials& c) { c.no_new_privs = false; }), HasSubstr("NoNewPrivs '0'"));
}

}  // namespace
}  // namespace tapir::helper
