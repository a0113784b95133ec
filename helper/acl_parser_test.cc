// SPDX-License-Identifier: Apache-2.0
#include "helper/acl_parser.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <string_view>
#include <vector>

namespace tapir::helper {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;
using Kind = Rule::Kind;

constexpr Subject kEverybody{};
constexpr Subject kAlice{Subject::Kind::kUser, 1000};
constexpr Subject kLab{Subject::Kind::kGroup, 50};

Result<ParsedAcl> parse(std::string_view text) {
  UserDatabase accounts =
      UserDatabase::from_text("alice:x:1000:1000::/:\n1001:x:7:7::/:\n", "lab:x:50:alice\n");
  return parse_acl(text, "/etc/tapir/bridge.conf", accounts);
}

// The one rule of a text.
Rule one_rule(std::string_view text) {
  const auto parsed = parse(text);
  EXPECT_TRUE(parsed) << text << ": " << (parsed ? "" : parsed.error().message());
  if (!parsed || parsed->rules.size() != 1) {
    ADD_FAILURE() << "not one rule: " << text;
    return {};
  }
  return parsed->rules[0];
}

Rule rule(Kind kind, std::optional<std::string> bridge, Subject subject = kEverybody, unsigned number = 0) {
  Rule made;
  made.kind = kind;
  made.bridge = std::move(bridge);
  made.subject = subject;
  made.number = number;
  made.line = 1;
  return made;
}

// The reason without the place, which must be line `line`.
std::string reason(std::string_view text, unsigned line = 1) {
  const auto parsed = parse(text);
  if (parsed) {
    ADD_FAILURE() << "accepted: " << text;
    return "";
  }
  const std::string place = "/etc/tapir/bridge.conf:" + std::to_string(line) + ": ";
  EXPECT_THAT(parsed.error().message(), StartsWith(place));
  return parsed.error().message().substr(place.size());
}

TEST(AclParser, ReadsEveryKindOfRule) {
  EXPECT_EQ(one_rule("allow br0\n"), rule(Kind::kAllow, "br0"));
  EXPECT_EQ(one_rule("allow all\n"), rule(Kind::kAllow, std::nullopt));
  EXPECT_EQ(one_rule("allow br0 user alice\n"), rule(Kind::kAllow, "br0", kAlice));
  EXPECT_EQ(one_rule("allow all group lab\n"), rule(Kind::kAllow, std::nullopt, kLab));
  EXPECT_EQ(one_rule("deny br0\n"), rule(Kind::kDeny, "br0"));
  EXPECT_EQ(one_rule("deny all\n"), rule(Kind::kDeny, std::nullopt));
  EXPECT_EQ(one_rule("deny br0 user alice\n"), rule(Kind::kDeny, "br0", kAlice));
  EXPECT_EQ(one_rule("limit br0 user alice 3\n"), rule(Kind::kLimit, "br0", kAlice, 3));
  EXPECT_EQ(one_rule("limit br0 group lab 0\n"), rule(Kind::kLimit, "br0", kLab, 0));
  EXPECT_EQ(one_rule("limit all all 256\n"), rule(Kind::kLimit, std::nullopt, kEverybody, 256));
  EXPECT_EQ(one_rule("isolate br0\n"), rule(Kind::kIsolate, "br0"));
  EXPECT_EQ(one_rule("isolate all\n"), rule(Kind::kIsolate, std::nullopt));
  EXPECT_EQ(one_rule("lock br0\n"), rule(Kind::kLock, "br0"));
  EXPECT_EQ(one_rule("lock all\n"), rule(Kind::kLock, std::nullopt));
  EXPECT_EQ(one_rule("vlan br0 1\n"), rule(Kind::kVlan, "br0", kEverybody, 1));
  EXPECT_EQ(one_rule("vlan br0 4094\n"), rule(Kind::kVlan, "br0", kEverybody, 4094));
}

TEST(AclParser, ReadsIncludes) {
  const auto parsed = parse(
      "# per user\ninclude /etc/tapir/alice.conf\n include?\t/etc/tapir/site.conf \n"
      "include /etc/with blank.conf\r\n");
  ASSERT_TRUE(parsed);
  EXPECT_THAT(parsed->rules, ::testing::IsEmpty());
  EXPECT_THAT(parsed->includes, ::testing::ElementsAre(Include{"/etc/tapir/alice.conf", false, 2},
                                                       Include{"/etc/tapir/site.conf", true, 3},
                                                       Include{"/etc/with blank.conf", false, 4}));
}

TEST(AclParser, ANameOfDigitsIsANumberEvenIfAUserHasThatName) {
  EXPECT_EQ(one_rule("allow br0 user 1001\n").subject, (Subject{Subject::Kind::kUser, 1001}));
  EXPECT_EQ(one_rule("allow br0 group 4294967294\n").subject, (Subject{Subject::Kind::kGroup, 4294967294}));
  EXPECT_THAT(reason("allow br0 user 4294967295\n"), HasSubstr("no user of that name"));
}

TEST(AclParser, AnEmptyFileAndCommentsAllowNothing) {
  for (const std::string_view text : {"", "\n", "\n\n \t\n", "# allow all\n", " \t# allow all", "#",
                                      "#\n#\r\n", "\r\n", "#\xFF\x01 anything\n"}) {
    const auto parsed = parse(text);
    ASSERT_TRUE(parsed) << text;
    EXPECT_TRUE(parsed->rules.empty() && parsed->includes.empty()) << text;
  }
}

TEST(AclParser, CountsLinesFromOne) {
  const auto parsed = parse("allow br0\n\n# comment\n\tdeny br1\nallow br2");
  ASSERT_TRUE(parsed);
  ASSERT_EQ(parsed->rules.size(), 3U);
  EXPECT_EQ(parsed->rules[0].line, 1U);
  EXPECT_EQ(parsed->rules[1].line, 4U);
  EXPECT_EQ(parsed->rules[2].line, 5U);
  EXPECT_THAT(reason("\n\nallow br0\nallou br1\n", 4), HasSubstr("the first word is not"));
}

TEST(AclParser, Hlp01NameOfSixteenBytesIsAnErrorNotATruncation) {
  EXPECT_EQ(one_rule("deny virbr-secret-01\n").bridge, "virbr-secret-01");
  for (const std::size_t length : {16U, 17U, 4000U}) {
    for (const std::string_view word : {"allow ", "deny ", "isolate ", "lock "}) {
      EXPECT_THAT(reason("allow all\n" + std::string(word) + std::string(length, 'b') + '\n', 2),
                  StartsWith("a bridge's name has 1 to 15 characters"));
    }
  }
  EXPECT_THAT(reason("deny virbr-secret-0001\nallow all\n"), StartsWith("a bridge's name"));
}

TEST(AclParser, Hlp02ABadLineSpoilsTheWholeText) {
  EXPECT_THAT(reason("allow all\ndeny\n", 2), StartsWith("the bridge is missing"));
}

TEST(AclParser, Hlp04AnIncludeWithoutAnAbsolutePathIsAnError) {
  for (const std::string_view text :
       {"include x.conf\n", "include ./x.conf\n", "include ../x\n", "include ~/x\n", "include\n",
        "include \n", "include? x.conf\n", "include?\n", "include \"/etc/x\"\n"}) {
    EXPECT_EQ(reason(text), "the path of the file to include must be absolute") << text;
  }
}

TEST(AclParser, Hlp05ALineOf4095BytesIsReadAndALongerOneIsAnError) {
  const auto padded = [](std::string line, std::size_t length, char fill) {
    return line + std::string(length - line.size(), fill);
  };
  EXPECT_TRUE(parse(padded("#", 4095, 'a') + '\n'));
  EXPECT_TRUE(parse(padded("#", 4095, 'a')));
  EXPECT_EQ(one_rule(padded("allow br0", 4095, ' ') + '\n').bridge, "br0");
  for (const std::size_t length : {4096U, 4097U, 8191U, 8192U, 8193U}) {
    EXPECT_EQ(reason(padded("#", length, 'a') + '\n'), "the line is longer than 4095 bytes") << length;
    EXPECT_EQ(reason(padded("allow br0", length, ' ')), "the line is longer than 4095 bytes") << length;
  }
  // QEMU takes the tail for a rule.
  EXPECT_EQ(reason("#" + std::string(4094, 'a') + "allow all\n"), "the line is longer than 4095 bytes");
}

TEST(AclParser, Hlp05ANulByteIsAnErrorAnywhere) {
  using std::string_view_literals::operator""sv;
  for (const std::string_view text : {"\0"sv, "allow br0\0\n"sv, "allow br0\0 br1\n"sv, "allow\0br0\n"sv,
                                      "# comment\0\n"sv, "include /etc/x\0y\n"sv}) {
    EXPECT_EQ(reason(text), "the line has a NUL byte");
  }
}

TEST(AclParser, Hlp05LineEndsTabsAndBlanksAreAsInQemu) {
  for (const std::string_view text : {"allow br0\r\n", "allow br0", "allow br0\r", "allow\tbr0\n",
                                      "allow\tbr0 \n", "\t allow \t br0 \t\r\n"}) {
    EXPECT_EQ(one_rule(text), rule(Kind::kAllow, "br0")) << text;
  }
}

TEST(AclParser, Hlp05TextAfterTheRuleIsAnErrorACommentToo) {
  for (const std::string_view text :
       {"allow br0 br1\n", "allow br0 # comment\n", "deny br0 #\n", "allow all all\n"}) {
    EXPECT_THAT(reason(text), StartsWith("after the bridge only")) << text;
  }
  for (const std::string_view text :
       {"allow br0 user alice bob\n", "allow br0 user alice #\n", "isolate br0 all\n",
        "lock br0 52:54:00:12:34:56\n", "vlan br0 10 20\n", "limit br0 all 1 2\n", "limit br0 all 1 # one\n",
        "isolate br0 user alice\n"}) {
    EXPECT_THAT(reason(text), StartsWith("text after the end of the rule")) << text;
  }
  // The comment would look like a part of the name of a file that may be missing.
  EXPECT_THAT(reason("include? /etc/tapir/deny.conf # site\n"), StartsWith("text after the path"));
}

TEST(AclParser, APathWithAControlCharacterIsAnError) {
  for (const std::string_view text :
       {"include /x\x1B[2J\n", "include /x\ty\n", "include /\x7F", "include /x\r\r\n"}) {
    EXPECT_EQ(reason(text), "the path has a control character");
  }
  EXPECT_TRUE(parse("include /etc/tapir/\xC3\xA9.conf\n"));
}

TEST(AclParser, Hlp05AStrayCarriageReturnIsAnError) {
  for (const std::string_view text :
       {"allow br0\r\r\n", "allow\rbr0\n", "allow br0 \r \n", "\rallow br0\n"}) {
    EXPECT_FALSE(parse(text)) << text;
  }
}

TEST(AclParser, Hlp06TheErrorRepeatsNothingOfTheFile) {
  for (const std::string_view text :
       {"secret", "secret word\n", "allow secret/word\n", "allow br0 secret\n", "allow br0 user secret\n",
        "allow br0 group secret\n", "allow br0 user alice secret\n", "limit br0 secret 3\n",
        "limit br0 all secret\n", "limit secret.secret.secret all 3\n", "vlan br0 secret\n",
        "vlan all secret\n", "include secret\n", "include? /secret secret\n", "isolate br0 secret\n",
        "deny secret!\n"}) {
    EXPECT_THAT(reason(text), Not(HasSubstr("secret"))) << text;
  }
}

TEST(AclParser, Hlp12ABridgeHasOnlyHarmlessCharacters) {
  for (const std::string_view name :
       {".", "..", "br/0", "br%d", "br:0", "br\xC3\xA9", "*", "br*", "br\x7F", "br\v"}) {
    EXPECT_THAT(reason("allow " + std::string(name) + '\n'), StartsWith("a bridge's name")) << name;
  }
}

TEST(AclParser, AWordThatItDoesNotKnowIsAnError) {
  for (const std::string_view text :
       {"Allow br0\n", "ALLOW br0\n", "allowbr0\n", "allow=br0\n", "permit br0\n", "includes /x\n",
        "include/x\n", "\357\273\277allow br0\n", "\vallow br0\n", "br0\n", "allow,br0\n"}) {
    EXPECT_THAT(reason(text), StartsWith("the first word is not allow, deny, limit")) << text;
  }
}

TEST(AclParser, AnAccountThatIsNotThereIsAnError) {
  EXPECT_THAT(reason("allow br0\nallow br1 user bob\n", 2), HasSubstr("no user of that name in /etc/passwd"));
  EXPECT_THAT(reason("limit br0 group alice 1\n"), HasSubstr("no group of that name in /etc/group"));
  for (const std::string_view text : {"allow br0 user\n", "allow br0 group \n", "limit br0 user\n"}) {
    EXPECT_EQ(reason(text), "the name of the user or group is missing") << text;
  }
  // 3 is the name here, and the number is missing.
  EXPECT_THAT(reason("limit br0 user 3\n"), StartsWith("a limit is a number from 0 to 256"));
}

TEST(AclParser, ARuleThatIsNotWholeIsAnError) {
  for (const std::string_view text :
       {"allow\n", "allow \n", "deny\t\n", "limit\n", "isolate\n", "lock\n", "vlan\n"}) {
    EXPECT_EQ(reason(text), "the bridge is missing") << text;
  }
  EXPECT_THAT(reason("limit br0\n"), StartsWith("after the bridge stands"));
  EXPECT_THAT(reason("limit br0 3\n"), StartsWith("after the bridge stands"));
  EXPECT_THAT(reason("limit br0 all\n"), StartsWith("a limit is a number"));
  EXPECT_THAT(reason("vlan br0\n"), StartsWith("a VLAN is a number from 1 to 4094"));
}

TEST(AclParser, NumbersAreDecimalAndInRange) {
  for (const std::string_view number :
       {"257", "-1", "+1", "0x1", "1k", "4294967297", "18446744073709551617", "1.0"}) {
    EXPECT_THAT(reason("limit br0 all " + std::string(number) + '\n'), StartsWith("a limit is a number"))
        << number;
  }
  for (const std::string_view number : {"0", "4095", "-1", "0x1", "65537", "1-5"}) {
    EXPECT_THAT(reason("vlan br0 " + std::string(number) + '\n'), StartsWith("a VLAN is a number")) << number;
  }
  EXPECT_EQ(reason("vlan all 10\n"), "a VLAN is of one bridge, which must be named");
}

}  // namespace
}  // namespace tapir::helper
