// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "net/base/result.h"

namespace tapir::vmm {

/// A key that an option's argument may hold.
struct KeySpec {
  enum class Kind : std::uint8_t {
    kValue,  ///< `key=value` only
    kFlag,   ///< also `key` for on and `nokey` for off
  };
  std::string_view name;
  Kind kind = Kind::kValue;
};

/// The argument of an option such as -netdev, as QEMU writes it (util/qemu-option.c):
///
///     tap,id=n0,ifname=t0,vnet_hdr        a first item without '=' belongs to the implied key
///     name=a,,b                           ",," is a comma inside a value; there is no other escape
///     vnet_hdr  novnet_hdr                on, off (only of keys that are flags)
///     ifname=t0,ifname=t1                 the last one counts
///
/// Only declared keys are taken. Where QEMU reads a bare `script` as script=on, a key that wants a value is
/// refused here. Copies what it keeps; immutable once parsed.
class KeyValueList {
 public:
  /// `implied` is the key of a first item without '=', or empty when there is none; it must be among `keys`.
  /// Error: an unknown key (the nearest is named), an empty item, or a value missing.
  [[nodiscard]] static Result<KeyValueList> parse(std::string_view text, std::span<const KeySpec> keys,
                                                  std::string_view implied = {});

  /// The last value given for the key, or nothing. Valid as long as the list.
  std::optional<std::string_view> find(std::string_view key) const;
  bool has(std::string_view key) const { return find(key).has_value(); }
  /// The last value as on or off. Error: it is neither.
  [[nodiscard]] Result<std::optional<bool>> find_flag(std::string_view key) const;

 private:
  struct Entry {
    std::string key;
    std::string value;
  };
  std::vector<Entry> entries_;
};

/// What the argument begins with, which decides how the rest is read: its first item, if that stands alone or
/// belongs to the implied `key`; else empty.
std::string_view leading_value(std::string_view argument, std::string_view key);

/// QEMU's rule for ids (util/id.c).
[[nodiscard]] Status check_identifier(std::string_view id);

}  // namespace tapir::vmm
