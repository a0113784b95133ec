// SPDX-License-Identifier: Apache-2.0
#include "helper/arguments.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <iterator>
#include <string>
#include <string_view>
#include <vector>

namespace tapir::helper {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::StartsWith;

Result<Arguments> parse(std::vector<const char*> words) {
  words.insert(words.begin(), "tapir-bridge-helper");
  return parse_arguments(words);
}

GrantRequest grant(const std::vector<const char*>& words) {
  auto parsed = parse(words);
  EXPECT_TRUE(parsed) << parsed.error().message();
  return parsed ? std::get<GrantRequest>(*std::move(parsed)) : GrantRequest{};
}

std::string error_of(const std::vector<const char*>& words) {
  const auto parsed = parse(words);
  return parsed ? "no error" : parsed.error().message();
}

TEST(Arguments, TakeQemusInAnyOrder) {
  std::vector<const char*> words{"--br=br0", "--fd=7", "--use-vnet"};
  do {
    const GrantRequest request = grant(words);
    EXPECT_EQ(request.bridge, "br0");
    EXPECT_EQ(request.fd, 7);
    EXPECT_TRUE(request.vnet_header);
    EXPECT_EQ(request.queues, 1U);
    EXPECT_FALSE(request.guest_mac);
  } while (std::next_permutation(words.begin(), words.end()));
  EXPECT_FALSE(grant({"--br=br0", "--fd=7"}).vnet_header);
}

TEST(Arguments, TakeOurOwn) {
  const GrantRequest request = grant({"--br=b.0-_Z", "--fd=0", "--queues=64", "--mac=52:54:00:ab:cd:ef"});
  EXPECT_EQ(request.bridge, "b.0-_Z");
  EXPECT_EQ(request.fd, 0);
  EXPECT_EQ(request.queues, 64U);
  ASSERT_TRUE(request.guest_mac);
  EXPECT_EQ(request.guest_mac->to_string(), "52:54:00:ab:cd:ef");
}

TEST(Arguments, ABridgeOrDescriptorThatIsMissingIsTheUsage) {
  EXPECT_THAT(error_of({}),
              StartsWith("--br is missing; usage: tapir-bridge-helper [--use-vnet] --br=BRIDGE"));
  EXPECT_THAT(error_of({"--use-vnet", "--fd=3"}), StartsWith("--br is missing; usage: "));
  EXPECT_THAT(error_of({"--br=br0"}), StartsWith("--fd is missing; usage: "));
  EXPECT_THAT(parse_arguments({}).error().message(), StartsWith("--br is missing; usage: "));
}

TEST(Arguments, NothingUnknownPasses) {
  for (const char* word : {"", "-", "--", "br0", "-h", "--BR=br0", "--bridge=br0", "--br0", "--use-vnet=on",
                           "--help=x", "--check=1", "--version=", "--fdx=3", " --fd=3"}) {
    EXPECT_THAT(error_of({"--br=br0", "--fd=3", word}), AllOf(StartsWith(word), HasSubstr("no such option")))
        << word;
  }
}

TEST(Arguments, NothingIsGivenTwice) {
  for (const char* word :
       {"--br=br0", "--br=br1", "--fd=3", "--fd=4", "--use-vnet", "--queues=1", "--mac=52:54:00:12:34:56"}) {
    EXPECT_THAT(error_of({"--br=br0", "--fd=3", "--use-vnet", "--queues=1", "--mac=52:54:00:12:34:56", word}),
                AllOf(StartsWith(word), HasSubstr("given twice")));
  }
}

TEST(Arguments, NoValueIsEmpty) {
  for (const char* word :
       {"--br=", "--br", "--fd=", "--fd", "--queues=", "--queues", "--mac=", "--mac", "--user=", "--user"}) {
    EXPECT_THAT(error_of({word}), AllOf(StartsWith(word), HasSubstr("value is missing"))) << word;
  }
}

TEST(Arguments, ABridgeHasAPlainName) {
  for (const char* word : {"--br=.", "--br=..", "--br=a/b", "--br=br%d", "--br=br 0", "--br=br\n0",
                           "--br=\xC3\xA9", "--br=br:0", "--br==", "--br=1234567890123456"}) {
    EXPECT_THAT(error_of({word, "--fd=3"}), HasSubstr("not the name of a bridge")) << word;
  }
  EXPECT_EQ(grant({"--br=123456789012345", "--fd=3"}).bridge, "123456789012345");
}

TEST(Arguments, ANumberIsPlainDecimal) {
  for (const char* word : {"--fd=3x", "--fd=-1", "--fd=+3", "--fd= 3", "--fd=0x3", "--fd=03",
                           "--fd=2147483648", "--fd=99999999999", "--fd=abc"}) {
    EXPECT_THAT(error_of({"--br=br0", word}), AllOf(StartsWith(word), HasSubstr("descriptor"))) << word;
  }
  for (const char* word : {"--queues=0", "--queues=65", "--queues=1.5", "--queues=-1", "--queues=01"}) {
    EXPECT_THAT(error_of({"--br=br0", "--fd=3", word}),
                StartsWith(std::string(word) + ": not a number from 1 to 64"));
  }
  EXPECT_EQ(grant({"--br=br0", "--fd=2147483647"}).fd, 2147483647);
}

TEST(Arguments, AnAddressIsWhole) {
  for (const char* word : {"--mac=52:54:00:12:34", "--mac=52:54:00:12:34:56:78", "--mac=random", "--mac=0"}) {
    EXPECT_THAT(error_of({"--br=br0", "--fd=3", word}),
                AllOf(StartsWith(word), HasSubstr("not a MAC address")));
  }
}

TEST(Arguments, WhatIsShownIsShortAndPrintable) {
  const std::string longest = "--br=\x1b[2J" + std::string(131072, 'a');
  const std::string error = error_of({longest.c_str(), "--fd=3"});
  EXPECT_THAT(error, StartsWith("--br=\\x1b[2Jaaa"));
  EXPECT_LT(error.size(), 250U);
}

TEST(Arguments, TenThousandOfThemAreNoTrouble) {
  EXPECT_THAT(error_of(std::vector<const char*>(10'000, "--use-vnet")), HasSubstr("given twice"));
}

TEST(Arguments, CheckTakesAUserInBothSpellings) {
  EXPECT_EQ(std::get<CheckRequest>(parse({"--check"}).value()).user, std::nullopt);
  EXPECT_EQ(std::get<CheckRequest>(parse({"--check", "--user=alice"}).value()).user, "alice");
  EXPECT_EQ(std::get<CheckRequest>(parse({"--user", "1000", "--check"}).value()).user, "1000");
  EXPECT_THAT(error_of({"--check", "--user", ""}), HasSubstr("value is missing"));
  EXPECT_THAT(error_of({"--check", "--user", "alice", "--user=bob"}), HasSubstr("given twice"));
}

TEST(Arguments, CheckAndGrantDoNotMix) {
  for (const char* word : {"--br=br0", "--fd=3", "--use-vnet", "--queues=2", "--mac=52:54:00:12:34:56"}) {
    EXPECT_THAT(error_of({"--check", word}), HasSubstr("--check goes with")) << word;
  }
  EXPECT_THAT(error_of({"--br=br0", "--fd=3", "--user=alice"}), HasSubstr("--user goes with --check"));
}

TEST(Arguments, ACommandThatEndsInTheHelperCanBeAskedForItsVersion) {
  EXPECT_TRUE(std::holds_alternative<VersionRequest>(parse({"--version"}).value()));
  EXPECT_TRUE(std::holds_alternative<VersionRequest>(parse({"--br=br1", "--version"}).value()));
  EXPECT_TRUE(std::holds_alternative<HelpRequest>(parse({"--help"}).value()));
  EXPECT_TRUE(std::holds_alternative<HelpRequest>(parse({"--version", "--use-vnet", "--help"}).value()));
  EXPECT_THAT(error_of({"--version", "--nonsense"}), HasSubstr("no such option"));
}

TEST(Arguments, TheVersionIsKnownByItsFirstWord) {
  EXPECT_THAT(version_text(), StartsWith("tapir-bridge-helper "));
}

TEST(Arguments, TheHelpAndTheManualNameEveryOption) {
  std::ifstream file(TAPIR_BRIDGE_HELPER_MANUAL);
  std::string manual(std::istreambuf_iterator<char>(file), {});
  std::erase(manual, '\\');
  for (const char* option :
       {"--br=", "--fd=", "--use-vnet", "--queues=", "--mac=", "--check", "--user=", "--help", "--version"}) {
    EXPECT_THAT(help_text(), HasSubstr(option));
    EXPECT_THAT(manual, HasSubstr(option));
  }
  EXPECT_THAT(manual, HasSubstr("1 to " + std::to_string(kMaxQueues)));
}

}  // namespace
}  // namespace tapir::helper
