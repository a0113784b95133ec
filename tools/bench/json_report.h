// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>

#include "net/base/result.h"
#include "tools/bench/results.h"

namespace tapir::bench {

/// The run as JSON, and back. Error of the second: what is wrong with the text.
std::string to_json(const RunResult& run);
[[nodiscard]] Result<RunResult> from_json(std::string_view text);

/// The same in files; their errors name the file.
[[nodiscard]] Status write_json(const std::string& path, const RunResult& run);
[[nodiscard]] Result<RunResult> read_json(const std::string& path);

}  // namespace tapir::bench
