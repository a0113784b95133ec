// SPDX-License-Identifier: Apache-2.0
#include "vmm/json_report.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <nlohmann/json.hpp>

#include "net/base/unique_fd.h"
#include "net/base/version.h"
#include "vmm/json_statistics.h"

namespace tapir::vmm {
namespace {

using Json = nlohmann::ordered_json;

/// VmHWM: resident pages, the guest's among them.
std::uint64_t peak_memory_bytes() {
  std::ifstream file("/proc/self/status");
  for (std::string word; file >> word;) {
    if (std::uint64_t kibibytes = 0; word == "VmHWM:" && file >> kibibytes) {
      return kibibytes << 10U;
    }
  }
  return 0;
}

Status write_all(int fd, std::string_view text) {
  while (!text.empty()) {
    const ssize_t written = ::write(fd, text.data(), text.size());
    if (written < 0 && errno != EINTR) {
      return fail_errno("write");
    }
    text.remove_prefix(written > 0 ? static_cast<std::size_t>(written) : 0);
  }
  return {};
}

Status write_in_place(const std::string& path, std::string_view text) {
  const UniqueFd fd(::open(path.c_str(), O_WRONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
  return fd ? write_all(fd.get(), text) : Status(fail_errno("open"));
}

Status replace(const std::string& path, std::string_view text) {
  std::string name = path + ".XXXXXX";
  UniqueFd fd(::mkostemp(name.data(), O_CLOEXEC));
  if (!fd) {
    return fail_errno("make a file beside it");
  }
  const mode_t mask = ::umask(0);
  ::umask(mask);
  Status status = ::fchmod(fd.get(), 0666 & ~mask) == 0 ? write_all(fd.get(), text) : fail_errno("chmod");
  if (status && ::fsync(fd.get()) < 0) {
    status = fail_errno("write");
  }
  if (status && ::rename(name.c_str(), path.c_str()) < 0) {
    status = fail_errno("rename");
  }
  if (!status) {
    ::unlink(name.c_str());
  }
  return status;
}

}  // namespace

std::string report_text(const RunReport& report) {
  Json json;
  json["tapir"] = kVersion;
  json["status"] = report.status;
  json["cause"] = report.cause;
  json["sentence"] = report.sentence;
  json["boots"] = report.boots;
  Json& seconds = json["seconds"];
  if (report.first_instruction_seconds) {
    seconds["first_instruction"] = *report.first_instruction_seconds;
  }
  if (report.init_seconds) {
    seconds["init"] = *report.init_seconds;
  }
  seconds["total"] = report.total_seconds;
  json["kvm_exits"] = report.kvm_exits;
  json["peak_memory_bytes"] = peak_memory_bytes();
  json["nics"] = nic_list(report.nics);
  json["console"] = {
      {"bytes", report.console.bytes()}, {"first", report.console.first()}, {"last", report.console.last()}};
  return json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

Status write_report(const std::string& path, const RunReport& report) {
  const std::string text = report_text(report);
  struct stat found {};
  const bool special = ::stat(path.c_str(), &found) == 0 && !S_ISREG(found.st_mode);
  Status status = special ? write_in_place(path, text) : replace(path, text);
  if (!status) {
    return tl::unexpected(std::move(status).error().with_context(
        fmt::format("-report {}: the report could not be written", path)));
  }
  return {};
}

}  // namespace tapir::vmm
