// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "net/base/result.h"
#include "net/mac_address.h"
#include "vmm/network_config.h"

namespace tapir::vmm {

/// A key that the argument of an option may hold: its only declaration. What a value may be, the help, the
/// completion of shells and the tables of the manual come from it.
struct KeySpec {
  enum class Type : std::uint8_t {
    kText,         ///< anything; with min 1 not empty
    kIdentifier,   ///< QEMU's rule for ids (util/id.c)
    kInterface,    ///< the name of a network interface; with min 0 also empty
    kFlag,         ///< on or off, also `key` for on and `nokey` for off
    kOffOnly,      ///< a flag of QEMU's that tapir lacks: off only; `help` is the reason
    kNumber,       ///< a whole number from min to max
    kQueueSize,    ///< a power of 2 from min to max
    kSize,         ///< bytes, with a suffix as in 1.5M; at most max
    kChoice,       ///< one of the words of `value` between '|', or without them only empty
    kMac,          ///< an Ethernet address, not multicast; of six groups
    kMacOrNumber,  ///< likewise, or a number that is the last three bytes, or empty, which is as not given
    kDescriptor,   ///< the number of a file descriptor
    kDescriptors,  ///< such numbers between ':'
    kPciAddress,   ///< SLOT or SLOT.0 in hexadecimal, SLOT from 1 to 1f
    kAbsent,       ///< a key of QEMU's that tapir lacks; `help` is the reason
  };
  static constexpr std::int64_t kNoLimit = INT64_MAX;

  std::string_view name = {};
  Type type = Type::kText;
  std::string_view value = {};  ///< as the help shows it: "NAME", "on|off"
  std::string_view standard =
      {};  ///< what is used when the key is not given; empty: nothing, or not worth a word
  std::string_view help = {};     ///< a phrase without a final period
  std::string_view example = {};  ///< a value that is right
  std::int64_t min = 0;
  std::int64_t max = kNoLimit;
  std::uint64_t feature = 0;  ///< of a kFlag: the feature bits of a network device that `off` takes away

  bool is_flag() const { return type == Type::kFlag || type == Type::kOffOnly; }
  /// Known to QEMU's users only: checked, but not in help and completion.
  bool hidden() const {
    return type == Type::kOffOnly || type == Type::kAbsent || (type == Type::kChoice && value.empty());
  }
};

/// Whether the value is one that the key may have. Error: a sentence that begins with "KEY=VALUE: ".
[[nodiscard]] Status check_value(const KeySpec& key, std::string_view value);

/// The values of keys that check_value() has found right.
std::int64_t number_value(std::string_view text);
std::uint64_t size_value(std::string_view text);
/// All zero: as not given (QEMU).
std::optional<net::MacAddress> mac_value(std::string_view text);
std::vector<int> descriptors_value(std::string_view text);
PciAddress pci_address_value(std::string_view text);

/// Likewise for the words between `separator`.
std::vector<std::string_view> split_words(std::string_view text, char separator);

}  // namespace tapir::vmm
