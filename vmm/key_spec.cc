// SPDX-License-Identifier: Apache-2.0
#include "vmm/key_spec.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <charconv>
#include <climits>

#include "net/base/parse.h"
#include "net/interface_name.h"

namespace tapir::vmm {
namespace {

constexpr unsigned kMaxSlot = 31;

tl::unexpected<Error> refuse(const KeySpec& key, std::string_view value, std::string_view rule) {
  return fail(fmt::format("{0}={1}: {2}; for example {0}={3}", key.name, value, rule, key.example));
}

/// A decimal or (with 0x) hexadecimal number with or without a minus.
std::optional<std::int64_t> parse_signed(std::string_view text) {
  const bool negative = !text.empty() && text.front() == '-';
  const std::string_view digits = negative ? text.substr(1) : text;
  // QEMU takes a number that begins with 0 for an octal one, which hardly anybody means.
  const auto magnitude = digits.starts_with("0x") || digits.starts_with("0X")
                             ? parse_unsigned(digits, INT64_MAX)
                             : parse_decimal(digits, INT64_MAX);
  if (!magnitude) {
    return std::nullopt;
  }
  const auto value = static_cast<std::int64_t>(*magnitude);
  return negative ? -value : value;
}

std::optional<unsigned> parse_hexadecimal(std::string_view text) {
  if (text.starts_with("0x") || text.starts_with("0X")) {
    text.remove_prefix(2);
  }
  unsigned value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, 16);
  return error == std::errc{} && end == text.data() + text.size() ? std::optional(value) : std::nullopt;
}

std::optional<PciAddress> parse_pci_address(std::string_view text) {
  const std::size_t dot = text.find('.');
  const auto slot = parse_hexadecimal(text.substr(0, dot));
  const auto function =
      dot == std::string_view::npos ? std::optional(0U) : parse_hexadecimal(text.substr(dot + 1));
  if (!slot || *slot > kMaxSlot || !function || *function > 7) {
    return std::nullopt;
  }
  return PciAddress{*slot, *function};
}

std::optional<net::MacAddress> parse_mac(std::string_view text, bool or_number) {
  const auto number = or_number ? parse_signed(text) : std::nullopt;
  if (number && *number >= 0 && *number <= 0xFF'FFFF) {
    net::MacAddress mac;
    for (std::size_t i = 0; i < 3; ++i) {
      mac.octets[5 - i] = static_cast<std::uint8_t>(*number >> (8 * i));
    }
    return mac;
  }
  return net::MacAddress::parse(text);
}

Status check_mac(const KeySpec& key, std::string_view value) {
  const bool or_number = key.type == KeySpec::Type::kMacOrNumber;
  if (or_number && value.empty()) {
    return {};
  }
  const auto mac = parse_mac(value, or_number);
  if (!mac) {
    return refuse(key, value, "an Ethernet address has six hexadecimal bytes");
  }
  if (mac->is_multicast()) {
    return refuse(key, value, "a multicast address (odd first byte) cannot be a NIC's");
  }
  return {};
}

Status check_identifier(const KeySpec& key, std::string_view value) {
  const auto letter = [](char c) { return std::isalpha(static_cast<unsigned char>(c)) != 0; };
  const auto inner = [&](char c) {
    return letter(c) || (c >= '0' && c <= '9') || c == '-' || c == '.' || c == '_';
  };
  if (value.empty() || !letter(value.front()) || !std::all_of(value.begin(), value.end(), inner)) {
    return refuse(key, value,
                  "an id begins with a letter and goes on with letters, digits, '-', '.' and '_'");
  }
  return {};
}

Status check_number(const KeySpec& key, std::string_view value) {
  const auto number = parse_signed(value);
  if (!number || *number < key.min || *number > key.max) {
    return refuse(key, value,
                  fmt::format("the value must be a whole number from {} to {}", key.min, key.max));
  }
  return {};
}

Status check_queue_size(const KeySpec& key, std::string_view value) {
  const auto number = parse_signed(value);
  if (!number || *number < key.min || *number > key.max || (*number & (*number - 1)) != 0) {
    return refuse(key, value, fmt::format("the value must be a power of 2 from {} to {}", key.min, key.max));
  }
  return {};
}

Status check_descriptors(const KeySpec& key, std::string_view value) {
  const auto words = split_words(value, ':');
  const bool one = key.type == KeySpec::Type::kDescriptor;
  const auto wrong = std::find_if(words.begin(), words.end(),
                                  [](std::string_view word) { return !parse_decimal(word, INT_MAX); });
  if (wrong != words.end() || words.size() > (one ? 1U : kMaxQueues)) {
    return refuse(
        key, value,
        one ? std::string("a file descriptor is a decimal number")
            : fmt::format("one to {} file descriptors are decimal numbers between colons", kMaxQueues));
  }
  for (auto word = words.begin(); word != words.end(); ++word) {
    if (std::find(words.begin(), word, *word) != word) {
      return refuse(key, value, fmt::format("descriptor {} is there twice", *word));
    }
  }
  return {};
}

Status check_choice(const KeySpec& key, std::string_view value) {
  if (key.value.empty()) {
    return value.empty() ? Status()
                         : fail(fmt::format("{0}={1}: {2}; leave {0}= out", key.name, value, key.help));
  }
  if (key.value.empty() && !value.empty()) {
    return fail(fmt::format("{0}={1}: {2}; leave {0}= out", key.name, value, key.help));
  }
  const auto words = split_words(key.value, '|');
  if (std::find(words.begin(), words.end(), value) != words.end()) {
    return {};
  }
  return refuse(key, value, fmt::format("the value must be {}", fmt::join(words, " or ")));
}

Status check_pci_address(const KeySpec& key, std::string_view value) {
  const auto address = parse_pci_address(value);
  if (!address) {
    return refuse(key, value, "a place on the PCI bus is a hexadecimal slot from 1 to 1f");
  }
  if (address->slot == 0) {
    return refuse(key, value, "slot 0 is the host bridge's");
  }
  if (address->function != 0) {
    return refuse(key, value, "tapir's devices have a slot each, so the function is 0");
  }
  return {};
}

Status check_flag(const KeySpec& key, std::string_view value) {
  const auto flag = parse_bool(value);
  if (!flag) {
    return fail(fmt::format("{}={}: the value must be on or off", key.name, value));
  }
  if (*flag && key.type == KeySpec::Type::kOffOnly) {
    return fail(fmt::format("{0}={1}: {2}; leave {0}= out or give {0}=off", key.name, value, key.help));
  }
  return {};
}

}  // namespace

Status check_value(const KeySpec& key, std::string_view value) {
  using Type = KeySpec::Type;
  switch (key.type) {
    case Type::kText:
      return value.empty() && key.min > 0 ? refuse(key, value, "the value is empty") : Status();
    case Type::kIdentifier:
      return check_identifier(key, value);
    case Type::kInterface: {
      if (value.empty() && key.min == 0) {
        return {};
      }
      auto checked = net::check_interface_name(value);
      return checked ? Status()
                     : tl::unexpected(
                           std::move(checked).error().with_context(fmt::format("{}={}", key.name, value)));
    }
    case Type::kFlag:
    case Type::kOffOnly:
      return check_flag(key, value);
    case Type::kNumber:
      return check_number(key, value);
    case Type::kQueueSize:
      return check_queue_size(key, value);
    case Type::kSize:
      return parse_size(value, 'B')
                 ? Status()
                 : refuse(key, value,
                          "the value must be a number of bytes, with a suffix such as K or M or without");
    case Type::kChoice:
      return check_choice(key, value);
    case Type::kMac:
    case Type::kMacOrNumber:
      return check_mac(key, value);
    case Type::kDescriptor:
    case Type::kDescriptors:
      return check_descriptors(key, value);
    case Type::kPciAddress:
      return check_pci_address(key, value);
    case Type::kAbsent:
      return fail(fmt::format("{0}={1}: {2}; leave {0}= out", key.name, value, key.help));
  }
  return {};
}

std::int64_t number_value(std::string_view text) {
  return parse_signed(text).value_or(0);
}

std::uint64_t size_value(std::string_view text) {
  return parse_size(text, 'B').value_or(0);
}

std::optional<net::MacAddress> mac_value(std::string_view text) {
  const auto mac = parse_mac(text, true);
  return mac && !mac->is_zero() ? mac : std::nullopt;
}

std::vector<int> descriptors_value(std::string_view text) {
  std::vector<int> descriptors;
  for (const std::string_view word : split_words(text, ':')) {
    descriptors.push_back(static_cast<int>(parse_decimal(word, INT_MAX).value_or(0)));
  }
  return descriptors;
}

PciAddress pci_address_value(std::string_view text) {
  return parse_pci_address(text).value_or(PciAddress{});
}

std::vector<std::string_view> split_words(std::string_view text, char separator) {
  std::vector<std::string_view> words;
  for (;;) {
    const std::size_t end = text.find(separator);
    words.push_back(text.substr(0, end));
    if (end == std::string_view::npos) {
      return words;
    }
    text.remove_prefix(end + 1);
  }
}

}  // namespace tapir::vmm
