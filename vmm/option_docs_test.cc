// SPDX-License-Identifier: Apache-2.0
#include "vmm/option_docs.h"

#include <gmock/gmock.h>

#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <memory>
#include <sstream>

#include "net/command_runner.h"
#include "net/testing/must_run.h"
#include "net/testing/temporary_directory.h"
#include "vmm/network_keys.h"
#include "vmm/option_table.h"
#include "vmm/testing/parse_line.h"

namespace tapir::vmm {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::IsSupersetOf;
using ::testing::Not;

std::string content(const std::string& path) {
  std::ifstream file(path);
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

std::string replace_all(std::string text, std::string_view from, std::string_view to) {
  for (std::size_t at = 0; (at = text.find(from, at)) != std::string::npos; at += to.size()) {
    text.replace(at, from.size(), to);
  }
  return text;
}

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream stream(text);
  for (std::string line; std::getline(stream, line);) {
    lines.push_back(line);
  }
  return lines;
}

/// The commands of a manual's examples: lines between .EX and .EE that call tapir, joined over their
/// backslashes.
std::vector<std::string> examples(const std::string& manual) {
  std::vector<std::string> commands;
  bool example = false;
  std::string command;
  for (const std::string& line : lines_of(manual)) {
    if (line == ".EX" || line == ".EE") {
      example = line == ".EX";
      continue;
    }
    if (!example) {
      continue;
    }
    command.append(replace_all(replace_all(line, "\\-", "-"), "\\(aq", "'"));
    if (command.ends_with("\\e")) {
      command.erase(command.size() - 2);
      continue;
    }
    if (command.starts_with("tapir ")) {
      commands.push_back(command);
    }
    command.clear();
  }
  return commands;
}

TEST(OptionDocsTest, ManualHasEveryOptionAndKey) {
  const std::string manual = content(TAPIR_MANUAL);
  for (const OptionSpec& option : option_table()) {
    EXPECT_THAT(manual, HasSubstr("\\fB\\-" + replace_all(std::string(option.name), "-", "\\-") + "\\fR"));
  }
  for (const KeyGroup& group : network_key_groups()) {
    for (const KeySpec& key : group.keys) {
      const std::string name = replace_all(std::string(key.name), "-", "\\-");
      if (!key.hidden()) {
        EXPECT_THAT(manual, HasSubstr("\n\\fB" + name + "=\\fR")) << group.name;
      }
    }
  }
  EXPECT_THAT(manual, Not(HasSubstr(std::string(kManualMark))));
}

TEST(OptionDocsTest, NoLineOfTheOptionsIsTakenForARequest) {
  for (const std::string& line : lines_of(manual_options())) {
    EXPECT_FALSE(line.empty());
    EXPECT_TRUE(line.front() != '\'' && (line.front() != '.' || line.starts_with(".TP") ||
                                         line.starts_with(".SS") || line.starts_with(".PP")))
        << line;
  }
}

TEST(OptionDocsTest, ExamplesOfTheManualAreTaken) {
  const std::vector<std::string> commands = examples(content(TAPIR_MANUAL));
  EXPECT_GE(commands.size(), 14U);
  for (const std::string& command : commands) {
    auto words = net::split_command(command);
    ASSERT_TRUE(words) << command;
    // What is the shell's: 3<>/dev/tap5.
    std::erase_if(*words, [](const std::string& word) { return word.find('>') != std::string::npos; });
    const auto options = testing::parse_words(*words);
    ASSERT_TRUE(options) << command << ": " << options.error().front();
    if (const auto* const run = std::get_if<RunOptions>(&*options)) {
      EXPECT_THAT(run->warnings, IsEmpty()) << command;
    }
  }
}

TEST(OptionDocsTest, ReadmeHasTheTable) {
  EXPECT_THAT(content(TAPIR_README),
              HasSubstr("<!-- tapir-option-docs readme -->\n\n" + readme_table() + "\n<!-- end -->"));
}

std::vector<std::string> output_lines(const std::string& command) {
  const std::unique_ptr<FILE, int (*)(FILE*)> pipe(::popen(command.c_str(), "re"), ::pclose);
  std::string text;
  for (int c = 0; pipe && (c = std::fgetc(pipe.get())) != EOF;) {
    text.push_back(static_cast<char>(c));
  }
  return lines_of(text);
}

/// What bash offers after `line`.
class BashCompletionTest : public ::testing::Test {
 protected:
  void SetUp() override { std::ofstream(script_) << bash_completion(); }

  std::vector<std::string> offered(const std::string& line) const {
    // Words as bash makes them, which ends one before and after '='.
    std::string words = replace_all(line, "=", " = ");
    if (words.ends_with(' ')) {
      words.append("''");
    }
    return output_lines("bash -c '. " + script_ + "; COMP_LINE=\"" + line +
                        "\"; COMP_POINT=${#COMP_LINE}; COMP_WORDS=(" + replace_all(words, "''", "\"\"") +
                        "); COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); _tapir; printf \"%s\\n\" "
                        "\"${COMPREPLY[@]}\"' 2>&1");
  }

 private:
  net::testing::TemporaryDirectory directory_;
  const std::string script_ = directory_.file("completion");
};

TEST_F(BashCompletionTest, OffersOptions) {
  EXPECT_THAT(offered("tapir -ne"), ElementsAre("-netdev", "-net"));
  EXPECT_THAT(offered("tapir -no-r"), ElementsAre("-no-reboot"));
}

TEST_F(BashCompletionTest, OffersBackendsAndDevices) {
  EXPECT_THAT(offered("tapir -netdev "), IsSupersetOf({"bridge", "tap", "hubport"}));
  EXPECT_THAT(offered("tapir -netdev br"), ElementsAre("bridge"));
  EXPECT_THAT(offered("tapir --device virtio-net-p"), ElementsAre("virtio-net-pci"));
}

TEST_F(BashCompletionTest, OffersKeysAfterCommas) {
  EXPECT_THAT(offered("tapir -netdev tap,if"), ElementsAre("tap,ifname="));
  EXPECT_THAT(offered("tapir -netdev tap,id=n0,if"),
              ElementsAre("n0,ifname="));  // what is before '=' bash keeps
  EXPECT_THAT(offered("tapir -nic bridge,m"), ElementsAre("bridge,model=", "bridge,mac="));
  EXPECT_THAT(offered("tapir -m 1 -device virtio-net-pci,netdev=n0,rx"), ElementsAre("n0,rx_queue_size="));
  EXPECT_THAT(offered("tapir -device virtio-net-device,add"), ElementsAre(""));
}

TEST(OptionDocsTest, ZshCompletesOptionsBackendsAndKeys) {
  if (std::system("zsh --version > /dev/null 2>&1") != 0) {
    TAPIR_SKIP_TEST("zsh is not installed");
  }
  const net::testing::TemporaryDirectory directory;
  std::ofstream(directory.file("_tapir")) << zsh_completion();
  const std::vector<std::string> completed = {
      "tapir -kernel ",
      "tapir -netdev bridge",
      "tapir -netdev bridge,br=",
      "tapir -nic tap,id=n0,ifname=",
      "tapir -device virtio-net-pci,netdev=n0,rx_queue_size=",
  };
  std::string command = "timeout 60 zsh -f " TAPIR_COMPLETE_ZSH " " + directory.file(".");
  for (const std::string& line : completed) {
    // Without its last two characters.
    command.append(" '" + line.substr(0, line.size() - 2) + "'");
  }
  EXPECT_EQ(output_lines(command), completed);
}

TEST(OptionDocsTest, ZshKnowsEveryOptionAndKey) {
  const std::string completion = zsh_completion();
  EXPECT_TRUE(completion.starts_with("#compdef tapir\n"));
  for (const OptionSpec& option : option_table()) {
    EXPECT_THAT(completion, HasSubstr("-" + std::string(option.name) + "[")) << option.name;
  }
  EXPECT_THAT(completion, HasSubstr("rx_queue_size="));
}

}  // namespace
}  // namespace tapir::vmm
