// SPDX-License-Identifier: Apache-2.0
#include "net/helper_privileges.h"

#include <endian.h>
#include <fmt/format.h>
#include <linux/capability.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>

#include "net/base/printable.h"

namespace tapir::net {
namespace {

constexpr std::size_t kShownBytes = 512;  // of a path in a message
constexpr std::uint32_t kNetAdminBit = 1U << CAP_NET_ADMIN;

// The attribute's layout: linux/capability.h, capabilities(7).
bool has_file_capability(const std::string& path) {
  vfs_ns_cap_data attribute{};
  const ssize_t size = ::getxattr(path.c_str(), "security.capability", &attribute, sizeof attribute);
  return size >= static_cast<ssize_t>(XATTR_CAPS_SZ_1) &&
         (le32toh(attribute.data[0].permitted) & kNetAdminBit) != 0;
}

}  // namespace

HelperPrivileges look_at_privileges(const std::string& path) {
  HelperPrivileges privileges;
  privileges.no_new_privs = ::prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1;
  privileges.in_bounding_set = ::prctl(PR_CAPBSET_READ, CAP_NET_ADMIN, 0, 0, 0) != 0;
  privileges.inherited =
      ::geteuid() == 0 || ::prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_IS_SET, CAP_NET_ADMIN, 0, 0) == 1;
  struct stat file {};
  struct statvfs mount {};
  if (path.find('/') != std::string::npos && ::stat(path.c_str(), &file) == 0 &&
      ::statvfs(path.c_str(), &mount) == 0) {
    privileges.file_is_readable = true;
    privileges.setuid_root = file.st_uid == 0 && (file.st_mode & S_ISUID) != 0;
    privileges.file_capability = has_file_capability(path);
    privileges.nosuid_mount = (mount.f_flag & ST_NOSUID) != 0;
  }
  return privileges;
}

std::optional<std::string> explain_privileges(const HelperPrivileges& privileges, const std::string& path) {
  if (!privileges.in_bounding_set) {
    return "CAP_NET_ADMIN is not in the bounding set here, so no program can have it; give the container or "
           "service this capability";
  }
  if (privileges.inherited) {
    return std::nullopt;
  }
  if (privileges.no_new_privs) {
    return "no_new_privs is set here, so the helper runs without its privilege; start tapir without it "
           "(systemd: NoNewPrivileges=no; docker: without --security-opt no-new-privileges)";
  }
  if (!privileges.file_is_readable) {
    return std::nullopt;
  }
  if (!privileges.setuid_root && !privileges.file_capability) {
    return fmt::format(
        "'{}' has neither the set-user-ID bit of root nor the file capability cap_net_admin; "
        "tools/install-helper, "
        "run as root, installs tapir's with one",
        printable(path, kShownBytes));
  }
  if (privileges.nosuid_mount) {
    return fmt::format(
        "'{}' lies on a file system mounted with nosuid, so it runs without its privilege; "
        "tools/install-helper, "
        "run as root, installs tapir's, on a file system without nosuid",
        printable(path, kShownBytes));
  }
  return std::nullopt;
}

}  // namespace tapir::net
