// SPDX-License-Identifier: Apache-2.0
// The corpus of command lines that tapir and QEMU are compared by, as far as tapir alone goes: each line is
// taken, or refused with just the sentences that the corpus says. How a file of it is written:
// guest-tests/command-line/corpus.py.
#include <gmock/gmock.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "net/command_runner.h"
#include "vmm/canonical_options.h"
#include "vmm/testing/parse_line.h"

namespace tapir::vmm {
namespace {

using ::testing::ElementsAreArray;
using ::testing::HasSubstr;
using ::testing::Matcher;
using testing::parse_words;
using testing::without_texts;

struct Case {
  std::string place;
  std::string line;
  std::vector<std::string> errors;
  std::vector<std::string> warnings;
  bool list = false;
};

void expect(Case& one, const std::string& text) {
  const std::size_t blank = std::min(text.find(' '), text.size());
  const std::string kind = text.substr(0, blank);
  const std::string rest = text.substr(std::min(blank + 1, text.size()));
  if (kind == "error") {
    one.errors.push_back(rest);
  } else if (kind == "warning") {
    one.warnings.push_back(rest);
  } else if (kind == "list") {
    one.list = true;
  } else {
    EXPECT_TRUE(kind == "ok" || kind == "qemu") << one.place << ": " << text;
  }
}

std::vector<Case> read_corpus() {
  std::vector<Case> cases;
  for (const auto& entry : std::filesystem::directory_iterator(TAPIR_COMMAND_LINES)) {
    std::ifstream file(entry.path());
    unsigned number = 0;
    for (std::string text; std::getline(file, text);) {
      ++number;
      if (text.empty() || text.front() == '#') {
        continue;
      }
      if (text.front() == ' ') {
        expect(cases.back(), text.substr(text.find_first_not_of(' ')));
      } else {
        cases.push_back(
            {entry.path().filename().string() + ":" + std::to_string(number), text, {}, {}, false});
      }
    }
  }
  return cases;
}

std::vector<Matcher<std::string>> parts(const std::vector<std::string>& texts) {
  std::vector<Matcher<std::string>> matchers;
  matchers.reserve(texts.size());
  for (const std::string& text : texts) {
    matchers.emplace_back(HasSubstr(text));
  }
  return matchers;
}

void expect_round_trip(const Case& one, const MachineConfig& machine) {
  std::vector<std::string> again = command_line_of(machine);
  again.insert(again.begin(), "tapir");
  const auto options = parse_words(again);
  ASSERT_TRUE(options) << one.place << ": " << shell_text(again) << ": " << options.error().front();
  EXPECT_EQ(without_texts(std::get<RunOptions>(*options).machine), without_texts(machine))
      << one.place << ": " << shell_text(again);
}

TEST(CommandLinesTest, EachIsAnsweredAsExpected) {
  const std::vector<Case> cases = read_corpus();
  EXPECT_GE(cases.size(), 400U);
  for (const Case& one : cases) {
    SCOPED_TRACE(one.place + ": " + one.line);
    const auto words = net::split_command("tapir -kernel vmlinuz " + one.line);
    ASSERT_TRUE(words) << words.error().message();
    const auto options = parse_words(*words);
    if (!options) {
      EXPECT_THAT(options.error(), ElementsAreArray(parts(one.errors)));
      EXPECT_FALSE(one.errors.empty());
      continue;
    }
    EXPECT_TRUE(one.errors.empty()) << "is taken";
    EXPECT_EQ(std::holds_alternative<PrintRequest>(*options), one.list);
    if (const auto* const run = std::get_if<RunOptions>(&*options)) {
      EXPECT_THAT(run->warnings, ElementsAreArray(parts(one.warnings)));
      expect_round_trip(one, run->machine);
    }
  }
}

}  // namespace
}  // namespace tapir::vmm
