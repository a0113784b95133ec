// SPDX-License-Identifier: Apache-2.0
#include "helper/acl_loader.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <optional>
#include <utility>
#include <vector>

#include "helper/acl_parser.h"
#include "helper/read_file.h"
#include "net/base/open_file.h"

namespace tapir::helper {
namespace {

constexpr mode_t kRead = 4;
constexpr mode_t kSearch = 1;
constexpr std::size_t kMaxFilesOfEverybody = 4096;

FilePermissions permissions_of(const struct stat& status) {
  return {status.st_uid, status.st_gid, status.st_mode};
}

struct FileId {
  dev_t device = 0;
  ino_t inode = 0;

  friend bool operator==(const FileId&, const FileId&) = default;
};

// `fd` is empty if the mode of this good file denies the caller.
struct OpenedFile {
  UniqueFd fd;
  FilePermissions permissions;
  FileId id;
};

// The errors of open() and of what is named check_ are clauses that go on from "the file"; those of the
// others are whole, "FILE: reason" or "FILE:LINE: reason".
class Loader {
 public:
  Loader(const User& caller, AccountNames& names, const LoadOptions& options)
      : caller_(caller), names_(names), options_(options) {}

  Result<Acl> load(const std::string& path);

 private:
  Result<OpenedFile> open(const std::string& path) const;
  Status check_sound(const struct stat& status) const;
  Status check_search(const std::string& path) const;
  Status load_file(const std::string& path, OpenedFile file, std::optional<std::size_t> includer);
  Status load_include(const Include& include, std::size_t includer);
  Status check_bounds(const OpenedFile& file) const;
  Status refuse_two_vlans() const;

  const User& caller_;
  AccountNames& names_;
  const LoadOptions& options_;
  Acl acl_;
  // The file that is being read and those that include it.
  std::vector<FileId> chain_;
};

Status Loader::check_sound(const struct stat& status) const {
  if (S_ISLNK(status.st_mode)) {
    return fail("is a symbolic link");
  }
  if (!S_ISREG(status.st_mode)) {
    return fail("is not a regular file");
  }
  if (status.st_uid != options_.owner) {
    return fail("is not owned by " +
                (options_.owner == 0 ? "root" : "uid " + std::to_string(options_.owner)));
  }
  if ((status.st_mode & (S_IWGRP | S_IWOTH)) != 0) {
    return fail("is writable by its group or by others (chmod go-w)");
  }
  return {};
}

// Whether the folders on the way let the caller through. What lies behind a symbolic link in the middle is
// not looked at.
Status Loader::check_search(const std::string& path) const {
  for (std::size_t end = path.find('/'); end != std::string::npos; end = path.find('/', end + 1)) {
    struct stat status {};
    if (::stat(path.substr(0, end + 1).c_str(), &status) != 0) {
      return fail_errno("cannot be read");
    }
    if (!mode_allows(permissions_of(status), caller_, kSearch)) {
      return fail("cannot be read: a folder on its path denies uid " + std::to_string(caller_.uid), EACCES);
    }
  }
  return {};
}

Result<OpenedFile> Loader::open(const std::string& path) const {
  if (options_.view == AclView::kSimulated) {
    TAPIR_TRY(check_search(path));
  }
  // O_NONBLOCK: a FIFO must not hold us up before it is recognised.
  auto fd = open_file(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);
  const bool refused = !fd && fd.error().code() == EACCES;
  if (refused) {
    // Needs no permission on the file itself.
    fd = open_file(path, O_PATH | O_NOFOLLOW);
  }
  if (!fd && fd.error().code() == ELOOP) {
    return fail("is a symbolic link", ELOOP);
  }
  if (!fd) {
    return fail_errno("cannot be read", fd.error().code());
  }
  struct stat status {};
  if (::fstat(fd->get(), &status) != 0) {
    return fail_errno("cannot be read");
  }
  TAPIR_TRY(check_sound(status));
  OpenedFile file{{}, permissions_of(status), {status.st_dev, status.st_ino}};
  const bool mode_denies = !mode_allows(file.permissions, caller_, kRead);
  if (refused || (options_.view == AclView::kSimulated && mode_denies)) {
    // A refusal that the mode does not explain is another mechanism's, and nobody knows what it means to say.
    return mode_denies && options_.view != AclView::kEverything ? Result<OpenedFile>(std::move(file))
                                                                : fail_errno("cannot be read", EACCES);
  }
  file.fd = *std::move(fd);
  return file;
}

Status Loader::check_bounds(const OpenedFile& file) const {
  if (std::find(chain_.begin(), chain_.end(), file.id) != chain_.end()) {
    return fail("includes itself, directly or through others");
  }
  if (chain_.size() > kMaxIncludeDepth) {
    return fail("is more than " + std::to_string(kMaxIncludeDepth) + " includes deep");
  }
  const std::size_t max_files = options_.view == AclView::kEverything ? kMaxFilesOfEverybody : kMaxAclFiles;
  if (acl_.files.size() >= max_files) {
    return fail("is one more than the " + std::to_string(max_files) + " files that are read");
  }
  return {};
}

Status Loader::load_file(const std::string& path, OpenedFile file, std::optional<std::size_t> includer) {
  auto text = read_file(file.fd.get(), kMaxAclBytes);
  if (!text) {
    return fail(path + ": it " + text.error().message(), text.error().code());
  }
  file.fd.reset();
  TAPIR_TRY_ASSIGN(ParsedAcl parsed, parse_acl(*text, path, names_));
  const std::size_t index = acl_.files.size();
  acl_.files.push_back({path, file.permissions, includer});
  for (Rule& rule : parsed.rules) {
    rule.file = index;
    acl_.rules.push_back(std::move(rule));
  }
  chain_.push_back(file.id);
  for (const Include& include : parsed.includes) {
    TAPIR_TRY(load_include(include, index));
  }
  chain_.pop_back();
  return {};
}

Status Loader::load_include(const Include& include, std::size_t includer) {
  const std::string where =
      acl_.files[includer].path + ':' + std::to_string(include.line) + ": the included file ";
  auto file = open(include.path);
  if (!file && file.error().code() == ENOENT) {
    return include.optional ? Status() : fail(where + "is missing (write include? if it may be)", ENOENT);
  }
  if (!file) {
    return fail(where + file.error().message(), file.error().code());
  }
  if (!file->fd) {
    acl_.skipped.push_back(include.path);
    return {};
  }
  if (const auto bounds = check_bounds(*file); !bounds) {
    return fail(where + bounds.error().message());
  }
  return load_file(include.path, *std::move(file), includer);
}

// Two VLANs for one bridge contradict each other if there may be a caller for whom both hold.
Status Loader::refuse_two_vlans() const {
  const auto together = [this](const Rule& a, const Rule& b) {
    return options_.view != AclView::kEverything || a.file == b.file || reaches_everybody(acl_, a.file) ||
           reaches_everybody(acl_, b.file);
  };
  for (auto rule = acl_.rules.begin(); rule != acl_.rules.end(); ++rule) {
    if (rule->kind != Rule::Kind::kVlan) {
      continue;
    }
    const auto other = std::find_if(acl_.rules.begin(), rule, [&](const Rule& earlier) {
      return earlier.kind == Rule::Kind::kVlan && earlier.bridge == rule->bridge &&
             earlier.number != rule->number && together(earlier, *rule);
    });
    if (other != rule) {
      return fail(location(acl_, *rule) + ": the bridge has another VLAN at " + location(acl_, *other));
    }
  }
  return {};
}

Result<Acl> Loader::load(const std::string& path) {
  auto file = open(path);
  if (!file && file.error().code() == ENOENT) {
    return fail(
        path + ": it is missing, so that nobody may use a bridge; tapir-bridge.conf(5) tells what to write",
        ENOENT);
  }
  if (!file) {
    return fail(path + ": it " + file.error().message(), file.error().code());
  }
  if (!file->fd) {
    return fail(path + ": its mode does not let uid " + std::to_string(caller_.uid) + " read it", EACCES);
  }
  TAPIR_TRY(load_file(path, *std::move(file), std::nullopt));
  TAPIR_TRY(refuse_two_vlans());
  return std::move(acl_);
}

}  // namespace

Result<Acl> load_acl(const std::string& path, const User& caller, AccountNames& names,
                     const LoadOptions& options) {
  return Loader(caller, names, options).load(path);
}

}  // namespace tapir::helper
