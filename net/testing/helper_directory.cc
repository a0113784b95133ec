// SPDX-License-Identifier: Apache-2.0
#include "net/testing/helper_directory.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <fstream>

namespace tapir::net::testing {

std::string HelperDirectory::fake(const std::string& name) const {
  const std::filesystem::path path = directory_.file(name);
  std::filesystem::create_directories(path.parent_path());
  std::filesystem::create_symlink(TAPIR_FAKE_BRIDGE_HELPER, path);
  return path;
}

std::string HelperDirectory::script(const std::string& name, const std::string& text) const {
  std::string path = directory_.file(name);
  std::ofstream(path) << text;
  EXPECT_EQ(::chmod(path.c_str(), 0755), 0);
  return path;
}

std::vector<std::string> HelperDirectory::report(const std::string& path, const std::string& kind) {
  std::vector<std::string> found;
  std::ifstream report(path + ".report");
  for (std::string line; std::getline(report, line);) {
    if (line.starts_with(kind)) {
      found.push_back(line.substr(kind.size() + 1));
    }
  }
  return found;
}

std::vector<std::string> open_descriptors() {
  std::vector<std::string> found;
  for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) {
    std::error_code gone;  // that of the iterator
    const auto target = std::filesystem::read_symlink(entry.path(), gone).string();
    if (!target.ends_with("/fd")) {
      found.push_back(entry.path().filename().string() + " " + target);
    }
  }
  std::sort(found.begin(), found.end());
  return found;
}

bool has_no_children() {
  return ::waitpid(-1, nullptr, WNOHANG) < 0 && errno == ECHILD;
}

}  // namespace tapir::net::testing
