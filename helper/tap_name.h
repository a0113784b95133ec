// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/types.h>

#include <string>

namespace tapir::helper {

/// Slots of one user on one bridge that a name can tell apart.
inline constexpr unsigned kMaxTapSlots = 64 * 64;

/// The name of the tap in slot `slot` (0 to kMaxTapSlots - 1) of user `uid` on the bridge with the ifindex
/// `bridge_index` (above 0): 15 bytes, different for any two different arguments.
///
/// With a limit of N a user's taps can only be called by his first N slot names. The kernel gives a name to
/// one interface at a time (IFF_TUN_EXCL), so its table of names counts the taps, atomically, and nobody
/// without CAP_NET_ADMIN can write to it: whoever holds a tap's descriptor cannot rename it.
///
/// "tp", then 11 digits of uid * 2^31 + bridge_index, then 2 of the slot. Digits are base 64, the most
/// significant first: 0-9 A-Z a-z - _, all allowed in names and in no need of quoting. 32 bits of uid and 31
/// of ifindex fill 63 of the 66 bits of 11 digits, so nothing is hashed. No "tap%d" name begins like this.
///
/// The kernel numbers interfaces upwards and a renamed bridge keeps its number, so its taps still count. A
/// bridge that was deleted and made anew has another: taps of the old one, which are on no bridge any more,
/// do not count.
std::string slot_name(uid_t uid, int bridge_index, unsigned slot);

}  // namespace tapir::helper
