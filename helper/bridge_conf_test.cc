// SPDX-License-Identifier: Apache-2.0
// The configuration that is shipped and the examples of the manual.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <sstream>
#include <string>
#include <string_view>

#include "helper/acl_parser.h"

namespace tapir::helper {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

std::string text_of(const char* path) {
  std::ostringstream text;
  text << std::ifstream(path).rdbuf();
  EXPECT_FALSE(text.str().empty()) << path;
  return text.str();
}

class AnyName final : public AccountNames {
 public:
  Result<uid_t> find_user(std::string_view) override { return 1; }
  Result<gid_t> find_group(std::string_view) override { return 1; }
};

TEST(BridgeConfExample, Hlp15AllowsNothingAsItIsShipped) {
  AnyName names;
  const auto acl = parse_acl(text_of(TAPIR_BRIDGE_CONF_EXAMPLE), "example", names);
  ASSERT_TRUE(acl) << acl.error().message();
  EXPECT_THAT(acl->rules, IsEmpty());
  EXPECT_THAT(acl->includes, IsEmpty());
}

TEST(BridgeConfExample, EachLineIsGoodWhenItsSignIsTakenAway) {
  AnyName names;
  std::istringstream lines(text_of(TAPIR_BRIDGE_CONF_EXAMPLE));
  std::string text;
  for (std::string line; std::getline(lines, line);) {
    const bool rule = line.size() > 1 && line[0] == '#' && line[1] != ' ';
    text += (rule ? line.substr(1) : line) + '\n';
  }
  const auto acl = parse_acl(text, "example", names);
  ASSERT_TRUE(acl) << acl.error().message();
  EXPECT_GE(acl->rules.size(), 8U);
  EXPECT_EQ(acl->includes.size(), 2U);
}

// Examples begin with a comment that names the file.
TEST(BridgeConfManual, ItsExamplesAreGood) {
  AnyName names;
  std::istringstream lines(text_of(TAPIR_BRIDGE_CONF_MANUAL));
  int examples = 0;
  for (std::string line; std::getline(lines, line);) {
    if (!line.starts_with("# /etc/tapir/")) {
      continue;
    }
    std::string text;
    for (; line != ".EE" && !line.empty(); std::getline(lines, line)) {
      ASSERT_THAT(line, Not(HasSubstr("\\"))) << "the test does not know roff";
      text += line + '\n';
    }
    const auto acl = parse_acl(text, "manual", names);
    EXPECT_TRUE(acl) << acl.error().message() << " in:\n" << text;
    ++examples;
  }
  EXPECT_GE(examples, 3);
}

}  // namespace
}  // namespace tapir::helper
