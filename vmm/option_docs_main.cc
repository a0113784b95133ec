// SPDX-License-Identifier: Apache-2.0
// Part of the build: writes what tapir's declarations of options are for beside tapir itself.
//   tapir-option-docs bash|zsh|readme     to standard output
//   tapir-option-docs manual              tapir.1.in from standard input, with the options in it
#include <cstdio>
#include <iostream>
#include <iterator>
#include <string>
#include <string_view>

#include "vmm/option_docs.h"

namespace {

int print(const std::string& text) {
  std::cout << text << std::flush;
  return std::cout ? 0 : 1;
}

int print_manual() {
  const std::string source((std::istreambuf_iterator<char>(std::cin)), std::istreambuf_iterator<char>());
  const std::size_t mark = source.find(tapir::vmm::kManualMark);
  if (mark == std::string::npos) {
    std::fputs("tapir-option-docs: the manual has no place for the options\n", stderr);
    return 1;
  }
  return print(source.substr(0, mark) + tapir::vmm::manual_options() +
               source.substr(mark + tapir::vmm::kManualMark.size()));
}

}  // namespace

int main(int argc, char** argv) {
  const std::string_view what = argc == 2 ? argv[1] : "";
  if (what == "bash") {
    return print(tapir::vmm::bash_completion());
  }
  if (what == "zsh") {
    return print(tapir::vmm::zsh_completion());
  }
  if (what == "readme") {
    return print(tapir::vmm::readme_table());
  }
  if (what == "manual") {
    return print_manual();
  }
  std::fputs("usage: tapir-option-docs bash|zsh|readme|manual\n", stderr);
  return 2;
}
