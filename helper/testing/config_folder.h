// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <fstream>
#include <string>

#include "net/testing/temporary_directory.h"

namespace tapir::helper::testing {

/// A folder for configuration files, open to everybody and removed at the end. What is written belongs to the
/// user who runs the test, whom load_acl must be told as LoadOptions::owner.
class ConfigFolder {
 public:
  /// The absolute path of a name in the folder.
  std::string path(const std::string& name) const { return directory_.file(name); }
  std::string path() const { return directory_.path(); }

  /// Writes a file and returns its path.
  std::string write(const std::string& name, const std::string& text, mode_t mode = 0644) const {
    std::ofstream(path(name), std::ios::binary) << text;
    EXPECT_EQ(::chmod(path(name).c_str(), mode), 0);
    return path(name);
  }

 private:
  net::testing::TemporaryDirectory directory_;
};

}  // namespace tapir::helper::testing
