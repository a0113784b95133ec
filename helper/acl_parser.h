// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "helper/acl.h"
#include "helper/user_database.h"
#include "net/base/result.h"

namespace tapir::helper {

/// A line of at most this many bytes, its end not counted, is read.
inline constexpr std::size_t kMaxLineBytes = 4095;

/// `include PATH` or `include? PATH`, which alone may be missing.
struct Include {
  std::string path;
  bool optional = false;
  unsigned line = 0;

  friend bool operator==(const Include&, const Include&) = default;
};

/// One file's content. Rule::file is left 0.
struct ParsedAcl {
  std::vector<Rule> rules;
  std::vector<Include> includes;
};

/// Reads the text of one configuration file; tapir-bridge.conf(5) has the grammar. It is QEMU's
/// (qemu-bridge-helper.c) with more rules, and strict: whatever is not understood to its last byte is an
/// error, because a line that is passed over could be the one that denies.
///
/// The error is "FILE:LINE: reason". The reason never repeats text of the file, since a program with
/// privilege shows it to whoever calls.
[[nodiscard]] Result<ParsedAcl> parse_acl(std::string_view text, std::string_view file, AccountNames& names);

}  // namespace tapir::helper
