// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <utility>

namespace tapir {

/// Runs `action` when the scope ends, however it ends. For the one undo step that deserves no class of its
/// own.
///
///     const ScopeExit restore([&] { ::tcsetattr(fd, TCSANOW, &saved); });
template <typename Action>
class [[nodiscard]] ScopeExit {
 public:
  explicit ScopeExit(Action action) : action_(std::move(action)) {}
  ScopeExit(const ScopeExit&) = delete;
  ScopeExit& operator=(const ScopeExit&) = delete;
  ~ScopeExit() {
    if (armed_) {
      action_();
    }
  }

  /// The action is not needed any more.
  void dismiss() { armed_ = false; }

 private:
  Action action_;
  bool armed_ = true;
};

}  // namespace tapir
