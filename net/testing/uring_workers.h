// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <filesystem>
#include <fstream>
#include <string>
#include <system_error>

namespace tapir::net::testing {

/// Threads of the kernel that do for this process's io_urings what could not be done at once, and turn the
/// order of frames around.
inline std::size_t count_uring_workers() {
  std::size_t workers = 0;
  std::error_code error;
  for (const auto& task : std::filesystem::directory_iterator("/proc/self/task", error)) {
    std::string name;
    std::ifstream(task.path() / "comm") >> name;
    workers += name.starts_with("iou-wrk") ? 1 : 0;
  }
  return workers;
}

}  // namespace tapir::net::testing
