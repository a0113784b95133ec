// SPDX-License-Identifier: Apache-2.0
#include "net/base/parse.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstddef>
#include <vector>

namespace tapir {
namespace {

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

bool is_hexadecimal(std::string_view text) {
  return text.starts_with("0x") || text.starts_with("0X");
}

// std::from_chars accepts "-5" for no unsigned type, but checking the end is left to the caller.
std::optional<std::uint64_t> parse_digits(std::string_view digits, int base) {
  std::uint64_t value = 0;
  const char* const end = digits.data() + digits.size();
  const auto [stopped, error] = std::from_chars(digits.data(), end, value, base);
  if (error != std::errc{} || stopped != end) {
    return std::nullopt;
  }
  return value;
}

// The power of two that a suffix stands for.
std::optional<unsigned> suffix_shift(char suffix) {
  constexpr std::string_view kSuffixes = "bkmgtpe";
  const char lower = suffix >= 'A' && suffix <= 'Z' ? static_cast<char>(suffix - 'A' + 'a') : suffix;
  const std::size_t position = kSuffixes.find(lower);
  if (position == std::string_view::npos) {
    return std::nullopt;
  }
  return static_cast<unsigned>(position) * 10;
}

std::optional<std::uint64_t> scale(std::uint64_t value, unsigned shift) {
  if (value > UINT64_MAX >> shift) {
    return std::nullopt;
  }
  return value << shift;
}

// 0.DIGITS of 2^shift, rounded to the nearest byte. From the last digit to the first, so that any number of
// digits keeps the precision of the type.
std::uint64_t scale_fraction(std::string_view digits, unsigned shift) {
  long double fraction = 0;
  for (std::size_t i = digits.size(); i > 0; --i) {
    fraction = (fraction + static_cast<long double>(digits[i - 1] - '0')) / 10;
  }
  return static_cast<std::uint64_t>(fraction * static_cast<long double>(std::uint64_t{1} << shift) + 0.5L);
}

std::size_t count_digits(std::string_view text) {
  return static_cast<std::size_t>(std::find_if_not(text.begin(), text.end(), is_digit) - text.begin());
}

std::size_t edit_distance(std::string_view from, std::string_view to) {
  // Levenshtein, one row at a time: row[j] is the distance from the first i characters of `from` to the first
  // j of `to`.
  std::vector<std::size_t> row(to.size() + 1);
  for (std::size_t j = 0; j < row.size(); ++j) {
    row[j] = j;
  }
  for (std::size_t i = 1; i <= from.size(); ++i) {
    std::size_t diagonal = row[0];
    row[0] = i;
    for (std::size_t j = 1; j <= to.size(); ++j) {
      const std::size_t replaced = diagonal + (from[i - 1] == to[j - 1] ? 0 : 1);
      diagonal = row[j];
      row[j] = std::min({replaced, row[j] + 1, row[j - 1] + 1});
    }
  }
  return row.back();
}

}  // namespace

std::optional<std::uint64_t> parse_unsigned(std::string_view text, std::uint64_t max) {
  const auto value = is_hexadecimal(text) ? parse_digits(text.substr(2), 16) : parse_digits(text, 10);
  if (!value || *value > max) {
    return std::nullopt;
  }
  return value;
}

std::optional<std::uint64_t> parse_decimal(std::string_view text, std::uint64_t max) {
  const auto value = text.size() > 1 && text.front() == '0' ? std::nullopt : parse_digits(text, 10);
  return value && *value <= max ? value : std::nullopt;
}

std::optional<std::uint64_t> parse_size(std::string_view text, char default_suffix) {
  const auto default_shift = suffix_shift(default_suffix);
  if (!default_shift) {
    return std::nullopt;
  }
  if (is_hexadecimal(text)) {
    // Letters b and e are digits here; the default suffix still applies.
    const auto value = parse_digits(text.substr(2), 16);
    return value ? scale(*value, *default_shift) : std::nullopt;
  }

  const std::string_view whole = text.substr(0, count_digits(text));
  std::string_view rest = text.substr(whole.size());
  std::string_view fraction;
  if (rest.starts_with('.')) {
    rest.remove_prefix(1);
    fraction = rest.substr(0, count_digits(rest));
    rest.remove_prefix(fraction.size());
  }
  if (whole.empty() && fraction.empty()) {
    return std::nullopt;
  }
  const auto shift = rest.empty() ? default_shift : suffix_shift(rest[0]);
  if (!shift || rest.size() > 1) {
    return std::nullopt;
  }
  // Half a byte does not exist, but "1.0" is a way to write 1.
  if (*shift == 0 && fraction.find_first_not_of('0') != std::string_view::npos) {
    return std::nullopt;
  }
  const auto value = whole.empty() ? 0 : parse_digits(whole, 10);
  if (!value) {
    return std::nullopt;
  }
  const auto scaled = scale(*value, *shift);
  const std::uint64_t part = scale_fraction(fraction, *shift);
  if (!scaled || *scaled > UINT64_MAX - part) {
    return std::nullopt;
  }
  return *scaled + part;
}

std::optional<bool> parse_bool(std::string_view text) {
  constexpr std::array<std::string_view, 4> kTrue{"on", "yes", "true", "y"};
  constexpr std::array<std::string_view, 4> kFalse{"off", "no", "false", "n"};
  if (std::find(kTrue.begin(), kTrue.end(), text) != kTrue.end()) {
    return true;
  }
  if (std::find(kFalse.begin(), kFalse.end(), text) != kFalse.end()) {
    return false;
  }
  return std::nullopt;
}

std::optional<std::string_view> nearest(std::string_view word, std::span<const std::string_view> candidates) {
  // A word of which more than a third would have to change is another word, not a slip of the finger. A long
  // one is not worth the quadratic time.
  constexpr std::size_t kLongestWord = 64;
  if (word.empty() || word.size() > kLongestWord) {
    return std::nullopt;
  }
  std::size_t best_distance = std::max<std::size_t>(1, word.size() / 3) + 1;
  std::optional<std::string_view> best;
  for (const std::string_view candidate : candidates) {
    const auto [shorter, longer] = std::minmax({word.size(), candidate.size()});
    if (longer - shorter >= best_distance) {
      continue;  // at least so many characters come or go
    }
    const std::size_t distance = edit_distance(word, candidate);
    // A candidate that keeps no character of the word is no help either ("m" for "k").
    if (distance < best_distance && distance < longer) {
      best_distance = distance;
      best = candidate;
    }
  }
  return best;
}

}  // namespace tapir
