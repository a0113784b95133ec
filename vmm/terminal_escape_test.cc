// SPDX-License-Identifier: Apache-2.0
#include "vmm/terminal_escape.h"

#include <gtest/gtest.h>

#include <string>

namespace tapir::vmm {
namespace {

using Action = EscapeParser::Action;

struct Outcome {
  std::string input;
  std::size_t consumed;
  Action action;
};

Outcome feed(EscapeParser& parser, std::string_view text) {
  std::vector<std::byte> input;
  const auto step = parser.feed(std::as_bytes(std::span(text)), input);
  return {std::string(reinterpret_cast<const char*>(input.data()), input.size()), step.consumed, step.action};
}

TEST(EscapeParser, PassesWhatIsNoCommand) {
  EscapeParser parser;
  const std::string text("ls\r\x03\x1a\x7f\0\xff x h", 12);
  const Outcome outcome = feed(parser, text);
  EXPECT_EQ(outcome.input, text);
  EXPECT_EQ(outcome.consumed, text.size());
  EXPECT_EQ(outcome.action, Action::kNone);
}

TEST(EscapeParser, QuitsAndLeavesTheRest) {
  EscapeParser parser;
  const Outcome outcome = feed(parser, "ab\x01xcd");
  EXPECT_EQ(outcome.input, "ab");
  EXPECT_EQ(outcome.consumed, 4U);
  EXPECT_EQ(outcome.action, Action::kQuit);
}

TEST(EscapeParser, HelpsByEitherKey) {
  EscapeParser parser;
  EXPECT_EQ(feed(parser, "\x01h").action, Action::kHelp);
  EXPECT_EQ(feed(parser, "\x01?").action, Action::kHelp);
}

TEST(EscapeParser, SendsCtrlAWhenTypedTwice) {
  EscapeParser parser;
  const Outcome outcome = feed(parser, "\x01\x01x");
  EXPECT_EQ(outcome.input, "\x01x");
  EXPECT_EQ(outcome.action, Action::kNone);
}

TEST(EscapeParser, DropsAnUnknownCommand) {
  EscapeParser parser;
  EXPECT_EQ(feed(parser, "a\x01qb").input, "ab");
}

TEST(EscapeParser, RemembersCtrlABetweenCalls) {
  EscapeParser parser;
  EXPECT_EQ(feed(parser, "a\x01").input, "a");
  EXPECT_EQ(feed(parser, "").action, Action::kNone);
  EXPECT_EQ(feed(parser, "x").action, Action::kQuit);
  EXPECT_EQ(feed(parser, "x").input, "x") << "and forgets it after the command";
}

}  // namespace
}  // namespace tapir::vmm
