// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>

namespace tapir::vmm {

/// What is made of the declarations of options and keys (option_table.h, network_keys.h) when tapir is built
/// or tested: never written by hand, so never out of date.

/// The line of a manual's source that stands for manual_options().
inline constexpr std::string_view kManualMark = ".\\\" OPTIONS\n";
/// The part of tapir(1) that tells of every option and key, as source for man(7).
std::string manual_options();
/// The table of options in README.md, as it stands between its marks.
std::string readme_table();
/// Completion for bash, and for zsh, each a whole file.
std::string bash_completion();
std::string zsh_completion();

}  // namespace tapir::vmm
