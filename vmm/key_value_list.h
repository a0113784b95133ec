// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "net/base/result.h"
#include "vmm/key_spec.h"
#include "vmm/problems.h"

namespace tapir::vmm {

/// One item of an option's argument, as it was written.
struct KeyItem {
  enum class Form : std::uint8_t {
    kValue,    ///< `key=value`, or the value of the implied key
    kBare,     ///< `key`
    kString,   ///< these of the JSON form
    kBoolean,  ///< "on" or "off"
    kInteger,  ///< decimal digits, with or without a minus
    kOther,    ///< what no key can have: null, a fraction, an array, an object
  };
  std::string key;
  std::string value;
  Form form = Form::kValue;
};

/// Reads the argument of an option such as -netdev, as QEMU writes it (util/qemu-option.c):
///
///     tap,id=n0,ifname=t0,vnet_hdr        a first item without '=' belongs to the implied key
///     name=a,,b                           ",," is a comma inside a value; there is no other escape
///     vnet_hdr  novnet_hdr                on, off (only of keys that are flags)
///
/// `implied` is the key of a first item without '=', or empty when there is none. Never fails: what the items
/// mean is for KeyValueList to say.
std::vector<KeyItem> split_items(std::string_view text, std::string_view implied);

/// A list of values without keys: `a,b,,c` is "a" and "b,c". Nothing of an empty text.
std::vector<std::string> split_values(std::string_view text);

/// The value of the last item with that key, or empty. For keys on which depends which others there are.
std::string_view last_value(std::span<const KeyItem> items, std::string_view key);
/// Whether `help` or `?` is among the items, which asks QEMU for a list and is never the value of a key.
bool asks_for_help(std::span<const KeyItem> items);

/// The items of an argument, each known and with a value that its key may have. Copies what it keeps;
/// immutable. Of items with the same key the last counts; only an id that is given twice is a problem, since
/// QEMU takes the first there.
class KeyValueList {
 public:
  /// Adds a problem for every item that is wrong and leaves it out: an unknown key (the nearest is named), an
  /// empty item, a value missing or not possible, or of the wrong JSON type.
  static KeyValueList check(std::span<const KeyItem> items, std::span<const KeySpec> keys,
                            Problems& problems);
  /// Of an option that has no JSON form. Error: the first problem.
  [[nodiscard]] static Result<KeyValueList> parse(std::string_view text, std::span<const KeySpec> keys,
                                                  std::string_view implied = {});

  /// The last value given for the key, or nothing. Valid as long as the list.
  std::optional<std::string_view> find(std::string_view key) const;
  std::optional<bool> flag(std::string_view key) const;
  /// Whether the key was given, if with a wrong value.
  bool has(std::string_view key) const;

 private:
  struct Entry {
    std::string key;
    std::string value;
    bool right = true;
  };
  void take(const KeyItem& item, std::span<const KeySpec> keys, Problems& problems);
  std::vector<Entry> entries_;
};

}  // namespace tapir::vmm
