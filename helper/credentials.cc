// SPDX-License-Identifier: Apache-2.0
#include "helper/credentials.h"

#include <fcntl.h>
#include <linux/capability.h>

#include <algorithm>
#include <charconv>
#include <cstddef>
#include <optional>
#include <span>
#include <string>

#include "helper/read_file.h"
#include "net/base/open_file.h"
#include "net/base/parse.h"

namespace tapir::helper {
namespace {

constexpr const char* kStatusFile = "/proc/self/status";

struct NamedSet {
  std::string_view name;
  CapabilitySet Credentials::*set;
};
constexpr std::array<NamedSet, 5> kSets{{{"CapInh", &Credentials::inheritable},
                                         {"CapPrm", &Credentials::permitted},
                                         {"CapEff", &Credentials::effective},
                                         {"CapBnd", &Credentials::bounding},
                                         {"CapAmb", &Credentials::ambient}}};

// The text behind "NAME:" and a tab, if there is exactly one such line.
std::optional<std::string_view> find_line(std::string_view status, std::string_view name) {
  std::optional<std::string_view> found;
  while (!status.empty()) {
    const std::string_view line = status.substr(0, status.find('\n'));
    status.remove_prefix(std::min(line.size() + 1, status.size()));
    if (line.starts_with(name) && line.substr(name.size()).starts_with(":\t")) {
      if (found) {
        return std::nullopt;
      }
      found = line.substr(name.size() + 2);
    }
  }
  return found;
}

// Numbers with one separator between them; one at the end is none too many.
std::optional<std::vector<std::uint32_t>> parse_numbers(std::string_view text, char separator) {
  std::vector<std::uint32_t> numbers;
  while (!text.empty()) {
    const std::string_view word = text.substr(0, text.find(separator));
    const auto number = parse_decimal(word, UINT32_MAX);
    if (!number) {
      return std::nullopt;
    }
    numbers.push_back(static_cast<std::uint32_t>(*number));
    text.remove_prefix(std::min(word.size() + 1, text.size()));
  }
  return numbers;
}

std::optional<CapabilitySet> parse_set(std::string_view text) {
  CapabilitySet set = 0;
  const char* const end = text.data() + text.size();
  const auto [stopped, error] = std::from_chars(text.data(), end, set, 16);
  return text.size() == 16 && error == std::errc{} && stopped == end ? std::optional(set) : std::nullopt;
}

tl::unexpected<Error> unreadable(std::string_view name) {
  return fail(
      std::string(kStatusFile).append(": no line '").append(name).append("' as this program knows it"));
}

Status read_ids(std::string_view status, std::string_view name, std::array<std::uint32_t, 4>& ids) {
  const auto line = find_line(status, name);
  const auto numbers = line ? parse_numbers(*line, '\t') : std::nullopt;
  if (!numbers || numbers->size() != ids.size()) {
    return unreadable(name);
  }
  std::copy(numbers->begin(), numbers->end(), ids.begin());
  return {};
}

std::string words(std::span<const std::uint32_t> numbers) {
  std::string text;
  for (const std::uint32_t number : numbers) {
    text.append(text.empty() ? "" : " ").append(std::to_string(number));
  }
  return text;
}

std::string hexadecimal(CapabilitySet set) {
  std::array<char, 16> digits;
  const char* const end = std::to_chars(digits.data(), digits.data() + digits.size(), set, 16).ptr;
  return std::string(digits.data(), static_cast<std::size_t>(end - digits.data()));
}

}  // namespace

Result<Credentials> parse_credentials(std::string_view status) {
  Credentials found;
  TAPIR_TRY(read_ids(status, "Uid", found.uids));
  TAPIR_TRY(read_ids(status, "Gid", found.gids));
  const auto groups = find_line(status, "Groups");
  // A blank follows each group, and one stands there alone when there is none.
  auto numbers = groups ? parse_numbers(*groups == " " ? "" : *groups, ' ') : std::nullopt;
  if (!numbers) {
    return unreadable("Groups");
  }
  found.groups = *std::move(numbers);
  for (const auto& [name, set] : kSets) {
    const auto line = find_line(status, name);
    const auto value = line ? parse_set(*line) : std::nullopt;
    if (!value) {
      return unreadable(name);
    }
    found.*set = *value;
  }
  const auto no_new_privs = find_line(status, "NoNewPrivs");
  if (!no_new_privs || (*no_new_privs != "0" && *no_new_privs != "1")) {
    return unreadable("NoNewPrivs");
  }
  found.no_new_privs = *no_new_privs == "1";
  return found;
}

Result<Credentials> read_credentials() {
  constexpr std::size_t kMaxBytes = std::size_t{1} << 20U;  // there can be 65536 groups
  TAPIR_TRY_ASSIGN(const UniqueFd fd, open_file(kStatusFile, O_RDONLY));
  const auto text = read_file(fd.get(), kMaxBytes);
  return text ? parse_credentials(*text)
              : fail(std::string(kStatusFile) + " " + text.error().message(), text.error().code());
}

Status expect_credentials(const Credentials& actual, const Credentials& expected) {
  const auto differ = [](std::string_view what, const std::string& is, const std::string& should_be) {
    return fail(std::string("this process has ")
                    .append(what)
                    .append(" '")
                    .append(is)
                    .append("' where '")
                    .append(should_be)
                    .append("' is right"));
  };
  if (actual.uids != expected.uids) {
    return differ("Uid", words(actual.uids), words(expected.uids));
  }
  if (actual.gids != expected.gids) {
    return differ("Gid", words(actual.gids), words(expected.gids));
  }
  if (actual.groups != expected.groups) {
    return differ("Groups", words(actual.groups), words(expected.groups));
  }
  for (const auto& [name, set] : kSets) {
    if (actual.*set != expected.*set) {
      return differ(name, hexadecimal(actual.*set), hexadecimal(expected.*set));
    }
  }
  if (actual.no_new_privs != expected.no_new_privs) {
    return differ("NoNewPrivs", actual.no_new_privs ? "1" : "0", expected.no_new_privs ? "1" : "0");
  }
  return {};
}

Credentials reduced(const Credentials& before, CapabilitySet kept) {
  const bool may_empty_bounding_set = (before.effective >> CAP_SETPCAP & 1U) != 0;
  Credentials after;
  after.uids.fill(before.real_uid());
  after.gids.fill(before.real_gid());
  after.groups = before.groups;
  after.permitted = kept;
  after.effective = kept;
  after.bounding = may_empty_bounding_set ? 0 : before.bounding;
  after.no_new_privs = true;
  return after;
}

}  // namespace tapir::helper
