// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "net/base/result.h"

namespace tapir::vmm {

/// What is wrong with a command line: every problem of it, one sentence each, so that an operator who made
/// two mistakes need not find them one after another.
///
///     problems.set_context("-m 0");
///     problems.add("memory size must be at least 2M");     // "-m 0: memory size must be at least 2M"
class Problems {
 public:
  /// What stands in front of the sentences that follow; empty: nothing.
  void set_context(std::string context) { context_ = std::move(context); }
  void add(const std::string& sentence) {
    sentences_.push_back(context_.empty() ? sentence : context_ + ": " + sentence);
  }
  /// The error of a status, if it has one. Whether it has none.
  bool add_error_of(const Status& status) {
    if (!status) {
      add(status.error().message());
    }
    return status.has_value();
  }

  bool empty() const { return sentences_.empty(); }
  std::size_t size() const { return sentences_.size(); }
  const std::vector<std::string>& sentences() const { return sentences_; }

 private:
  std::string context_;
  std::vector<std::string> sentences_;
};

}  // namespace tapir::vmm
