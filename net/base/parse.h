// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace tapir {

/// Strict number: the whole text, decimal or 0x hexadecimal, no sign, no blanks, not above `max`.
std::optional<std::uint64_t> parse_unsigned(std::string_view text, std::uint64_t max = UINT64_MAX);

/// Stricter still, for interfaces between programs: decimal only, and no zero in front of other digits.
std::optional<std::uint64_t> parse_decimal(std::string_view text, std::uint64_t max = UINT64_MAX);

/// Size in bytes as QEMU reads it (util/cutils.c): digits, an optional fraction, an optional suffix
/// b k m g t p e of either case (1024-based). A fraction needs a suffix above b; 0x takes no suffix;
/// overflow, signs and anything after it are refused. `default_suffix` is used when there is none ('M' for
/// -m).
std::optional<std::uint64_t> parse_size(std::string_view text, char default_suffix = 'b');

/// on yes true y / off no false n.
std::optional<bool> parse_bool(std::string_view text);

/// The candidate nearest to a mistyped word by edit distance, or nothing when none is near.
std::optional<std::string_view> nearest(std::string_view word, std::span<const std::string_view> candidates);

}  // namespace tapir
