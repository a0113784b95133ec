// SPDX-License-Identifier: Apache-2.0
#include "net/interface_name.h"

#include <fmt/format.h>

#include <cerrno>

namespace tapir::net {

Status check_interface_name(std::string_view name) {
  if (name.empty()) {
    return fail("the name of the interface is empty; give its name, for example br0 or tap0", EINVAL);
  }
  for (const char c : name) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte <= ' ' || byte == 0x7F) {
      return fail(
          fmt::format("the name of the interface has byte 0x{:02x} in it; blanks and control characters are "
                      "not possible in such a name",
                      byte),
          EINVAL);
    }
    if (c == '/' || c == ':' || c == '%') {
      return fail(
          fmt::format("interface name '{}' has a '{}' in it, which is not possible; choose another", name, c),
          EINVAL);
    }
  }
  if (name.size() > kMaxInterfaceNameBytes) {
    return fail(fmt::format("interface name '{}' has {} bytes; {} is the most that there can be", name,
                            name.size(), kMaxInterfaceNameBytes),
                ENAMETOOLONG);
  }
  if (name == "." || name == "..") {
    return fail(fmt::format("'{}' cannot be the name of an interface; choose another", name), EINVAL);
  }
  return {};
}

}  // namespace tapir::net
