// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "net/base/result.h"
#include "tools/bench/results.h"

namespace tapir::bench {

/// The gnuplot program that draws the run into the SVG file `path`: bars of speed for each 1 of the ceiling,
/// group by group, with the throughput written on them, and below them the percentiles of round trips, if
/// there are any.
std::string plot_script(const RunResult& run, const std::string& path);

/// Runs it. Error: there is no gnuplot, or it does not like the program.
[[nodiscard]] Status draw_plot(const RunResult& run, const std::string& path);

}  // namespace tapir::bench
