// SPDX-License-Identifier: Apache-2.0
#include "vmm/option_table.h"

#include <gmock/gmock.h>

#include <fstream>
#include <set>
#include <sstream>

#include "vmm/network_keys.h"
#include "vmm/option_help.h"
#include "vmm/options.h"

namespace tapir::vmm {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;

TEST(OptionTableTest, NamesAreUnique) {
  std::set<std::string_view> names;
  for (const OptionSpec& option : option_table()) {
    EXPECT_TRUE(names.insert(option.name).second) << option.name;
  }
}

TEST(OptionTableTest, ExampleOfEveryOptionIsAccepted) {
  for (const OptionSpec& option : option_table()) {
    EXPECT_EQ(option.argument.empty(), option.example.empty()) << option.name;
    if (option.apply != nullptr) {
      OptionState state;
      Problems problems;
      option.apply(state, option.example, problems);
      EXPECT_THAT(problems.sentences(), IsEmpty()) << option.name;
    }
  }
}

TEST(OptionTableTest, KeysAreUniqueInTheirGroup) {
  for (const KeyGroup& group : network_key_groups()) {
    std::set<std::string_view> names;
    for (const KeySpec& key : group.keys) {
      EXPECT_TRUE(names.insert(key.name).second) << group.name << " " << key.name;
      EXPECT_FALSE(key.help.empty()) << group.name << " " << key.name;
    }
  }
}

TEST(OptionTableTest, ExampleOfEveryKeyIsRight) {
  for (const KeyGroup& group : network_key_groups()) {
    for (const KeySpec& key : group.keys) {
      if (key.type == KeySpec::Type::kAbsent) {
        EXPECT_FALSE(check_value(key, "1")) << group.name << " " << key.name;
      } else {
        const Status checked = check_value(key, key.example);
        EXPECT_TRUE(checked) << group.name << " " << key.name << ": " << checked.error().message();
      }
    }
  }
}

TEST(OptionTableTest, HelpHasEveryOptionInNarrowLines) {
  const std::string text = help_text();
  for (const OptionSpec& option : option_table()) {
    EXPECT_THAT(text, HasSubstr("\n  -" + std::string(option.name))) << option.name;
  }
  std::istringstream stream(text);
  for (std::string line; std::getline(stream, line);) {
    EXPECT_LE(line.size(), 80U) << line;
    EXPECT_TRUE(line.empty() || line.back() != ' ') << line;
  }
}

TEST(OptionTableTest, HelpExamplesParse) {
  // The commands as the help shows them, joined over their backslashes.
  std::istringstream stream(help_text());
  std::string command;
  int parsed = 0;
  for (std::string line; std::getline(stream, line);) {
    command.append(line);
    if (!command.empty() && command.back() == '\\') {
      command.pop_back();
      continue;
    }
    std::istringstream word_stream(command);
    command.clear();
    std::vector<std::string> words;
    for (std::string word; word_stream >> word;) {
      words.push_back(word);
    }
    if (words.size() < 4 || words[0] != "tapir" || words[1] != "-kernel" || words[2] == "FILE") {
      continue;
    }
    std::vector<const char*> argv;
    argv.reserve(words.size());
    for (const std::string& word : words) {
      argv.push_back(word.c_str());
    }
    const auto options = parse_options(static_cast<int>(argv.size()), argv.data());
    ASSERT_TRUE(options) << options.error().front();
    ++parsed;
  }
  EXPECT_EQ(parsed, 3);
}

TEST(OptionTableTest, VersionIsOneLine) {
  EXPECT_THAT(version_text(), ::testing::MatchesRegex("tapir [0-9]+\\.[0-9]+\\.[0-9]+\n"));
}

}  // namespace
}  // namespace tapir::vmm
