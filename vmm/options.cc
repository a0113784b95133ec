// SPDX-License-Identifier: Apache-2.0
#include "vmm/options.h"

#include <fmt/format.h>

#include <span>
#include <string_view>

#include "net/base/parse.h"
#include "vmm/option_table.h"

namespace tapir::vmm {
namespace {

constexpr std::uint64_t kDefaultMemoryBytes = std::uint64_t{128} << 20U;  // QEMU's default

tl::unexpected<Error> unknown_option(std::string_view word, std::string_view name) {
  if (word.empty() || word.front() != '-') {
    return fail(fmt::format("'{}' does not belong to an option; the kernel is given by -kernel FILE", word));
  }
  std::vector<std::string_view> names;
  for (const OptionSpec& option : option_table()) {
    names.push_back(option.name);
  }
  if (const auto near = nearest(name, names)) {
    return fail(fmt::format("{}: tapir has no such option; did you mean -{}?", word, *near));
  }
  return fail(fmt::format("{}: tapir has no such option; -help lists those that it has", word));
}

Result<Options> finish(OptionState&& state) {
  if (state.machine.kernel_path.empty()) {
    return fail(
        "-kernel is missing; for example tapir -kernel vmlinuz -initrd initrd.img -append console=ttyS0 -m "
        "256 "
        "(-help shows more)");
  }
  RunOptions run;
  TAPIR_TRY_ASSIGN(state.machine.nics, state.network.resolve(run.warnings));
  run.machine = std::move(state.machine);
  return Options(std::move(run));
}

}  // namespace

Result<Options> parse_options(int argc, const char* const* argv) {
  const std::span<const char* const> words(argv, argc > 0 ? static_cast<std::size_t>(argc) : 0);
  OptionState state;
  state.machine.memory_bytes = kDefaultMemoryBytes;
  for (std::size_t i = 1; i < words.size(); ++i) {
    const std::string_view word = words[i];
    std::string_view name = word;
    for (int dashes = 0; dashes < 2 && !name.empty() && name.front() == '-'; ++dashes) {
      name.remove_prefix(1);
    }
    const OptionSpec* option = name.size() == word.size() ? nullptr : find_option(name);
    if (option == nullptr) {
      return unknown_option(word, name);
    }
    if (option->apply == nullptr) {
      return option->name == "help" ? Options(HelpRequest{}) : Options(VersionRequest{});
    }
    std::string_view argument;
    std::string context = fmt::format("-{}", option->name);
    if (!option->argument.empty()) {
      if (i + 1 == words.size()) {
        return fail(fmt::format("-{0} needs an argument: -{0} {1}; for example -{0} {2}", option->name,
                                option->argument, option->example));
      }
      argument = words[++i];
      context.append(" ").append(argument);
    }
    if (auto applied = option->apply(state, argument); !applied) {
      return tl::unexpected<Error>(std::move(applied).error().with_context(context));
    }
  }
  return finish(std::move(state));
}

}  // namespace tapir::vmm
