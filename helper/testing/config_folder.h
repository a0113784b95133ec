// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

namespace tapir::helper::testing {

/// A folder for configuration files, open to everybody and removed at the end. What is written belongs to the
/// user who runs the test, whom load_acl must be told as LoadOptions::owner.
class ConfigFolder {
 public:
  ConfigFolder() {
    std::string name = (std::filesystem::temp_directory_path() / "tapir-acl-XXXXXX").string();
    if (::mkdtemp(name.data()) == nullptr || ::chmod(name.c_str(), 0755) != 0) {
      ADD_FAILURE() << "no folder for the test: " << name;
      return;
    }
    path_ = name;
  }
  ConfigFolder(const ConfigFolder&) = delete;
  ConfigFolder& operator=(const ConfigFolder&) = delete;
  ~ConfigFolder() {
    if (!path_.empty()) {
      std::filesystem::remove_all(path_);
    }
  }

  /// The absolute path of a name in the folder.
  std::string path(const std::string& name) const { return path_ + '/' + name; }
  std::string path() const { return path_; }

  /// Writes a file and returns its path.
  std::string write(const std::string& name, const std::string& text, mode_t mode = 0644) const {
    std::ofstream(path(name), std::ios::binary) << text;
    EXPECT_EQ(::chmod(path(name).c_str(), mode), 0);
    return path(name);
  }

 private:
  std::string path_;
};

}  // namespace tapir::helper::testing
