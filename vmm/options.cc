// SPDX-License-Identifier: Apache-2.0
#include "vmm/options.h"

#include <fmt/format.h>

#include <optional>
#include <span>
#include <string_view>

#include "net/base/parse.h"
#include "vmm/network_resolver.h"
#include "vmm/option_help.h"
#include "vmm/option_table.h"

namespace tapir::vmm {
namespace {

class CommandLine {
 public:
  explicit CommandLine(std::span<const char* const> words) : words_(words) {
    state_.machine.memory_bytes = kDefaultMemoryBytes;
  }

  tl::expected<Options, std::vector<std::string>> parse() {
    while (next_ < words_.size() && !printed_) {
      take_option();
    }
    if (printed_ && problems_.empty()) {
      return Options(*std::move(printed_));
    }
    RunOptions run;
    if (!printed_) {
      finish(run);
    }
    if (!problems_.empty()) {
      return tl::unexpected(problems_.sentences());
    }
    return Options(std::move(run));
  }

 private:
  void take_option() {
    const std::string_view word = words_[next_++];
    std::string_view name = word;
    for (int dashes = 0; dashes < 2 && !name.empty() && name.front() == '-'; ++dashes) {
      name.remove_prefix(1);
    }
    const OptionSpec* option = name.size() == word.size() ? nullptr : find_option(name);
    problems_.set_context({});
    if (option == nullptr) {
      refuse(word, name);
    } else if (option->apply == nullptr) {
      printed_ = PrintRequest{option->name == "help" ? help_text() : version_text()};
    } else {
      apply(*option);
    }
  }

  void apply(const OptionSpec& option) {
    std::string_view argument;
    std::string context = fmt::format("-{}", option.name);
    if (!option.argument.empty()) {
      if (next_ == words_.size()) {
        problems_.add(fmt::format("-{0} needs an argument: -{0} {1}; for example -{0} {2}", option.name,
                                  option.argument, option.example));
        lost_ = true;
        return;
      }
      argument = words_[next_++];
      context.append(" ").append(argument);
    }
    if (auto list = list_text(option.name, argument)) {
      printed_ = PrintRequest{*std::move(list)};
      return;
    }
    problems_.set_context(std::move(context));
    option.apply(state_, argument, problems_);
  }

  void refuse(std::string_view word, std::string_view name) {
    lost_ = true;
    if (word.empty() || word.front() != '-') {
      problems_.add(
          fmt::format("'{}' does not belong to an option; the kernel is given by -kernel FILE", word));
      return;
    }
    std::vector<std::string_view> names;
    for (const OptionSpec& option : option_table()) {
      names.push_back(option.name);
    }
    if (const auto near = nearest(name, names)) {
      problems_.add(fmt::format("{}: tapir has no such option; did you mean -{}?", word, *near));
    } else {
      problems_.add(fmt::format("{}: tapir has no such option; -help lists those that it has", word));
    }
    // What follows and is no option is its argument, and not another mistake.
    if (next_ < words_.size() && !std::string_view(words_[next_]).starts_with('-')) {
      ++next_;
    }
  }

  void finish(RunOptions& run) {
    NetworkConfig network = resolve_network(state_.network.in_order(), problems_, run.warnings);
    state_.machine.hubs = std::move(network.hubs);
    state_.machine.nics = std::move(network.nics);
    // When a word has found no place, it is likely that the kernel is one.
    if (state_.machine.kernel_path.empty() && !lost_) {
      problems_.add(
          "-kernel is missing; for example tapir -kernel vmlinuz -initrd initrd.img -append console=ttyS0 -m "
          "256 (-help shows more)");
    }
    const EndConfig& end = state_.machine.end;
    if (state_.machine.serial.kind == SerialConfig::Kind::kNone &&
        !(end.expect.empty() && end.fail.empty())) {
      problems_.add(
          "-expect and -fail read the serial port, which -serial none takes away; use -serial null");
    }
    run.machine = std::move(state_.machine);
    run.dry_run = state_.dry_run;
  }

  std::span<const char* const> words_;
  std::size_t next_ = 1;
  OptionState state_;
  Problems problems_;
  std::optional<PrintRequest> printed_;
  bool lost_ = false;  ///< there were words that are no option
};

}  // namespace

std::string report_path(int argc, const char* const* argv) {
  std::string path;
  for (int i = 1; i + 1 < argc; ++i) {
    const std::string_view word = argv[i];
    if (word == "-report" || word == "--report") {
      path = argv[++i];
    }
  }
  return path;
}

tl::expected<Options, std::vector<std::string>> parse_options(int argc, const char* const* argv) {
  return CommandLine(std::span(argv, argc > 0 ? static_cast<std::size_t>(argc) : 0)).parse();
}

}  // namespace tapir::vmm
