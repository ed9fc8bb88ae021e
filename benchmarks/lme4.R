# One measurement of lme4: data read and factors made before the clock starts, then whole calls of lmer().
# Argument: JSON with csv, formula, categories (columns that are factors), enough_seconds, enough_calls, long_call.
# Prints one JSON object a line.
request <- jsonlite::fromJSON(commandArgs(trailingOnly = TRUE)[1])
suppressPackageStartupMessages(library(lme4))

say <- function(...) {
  cat(jsonlite::toJSON(list(...), auto_unbox = TRUE, digits = NA), "\n", sep = "")
  flush(stdout())
}

memory_mb <- function(field) {
  line <- grep(field, readLines("/proc/self/status"), value = TRUE)
  as.numeric(gsub("[^0-9]", "", line)) / 1024
}

data <- as.data.frame(data.table::fread(request$csv))
for (column in request$categories) data[[column]] <- factor(data[[column]])
formula <- as.formula(request$formula)

run <- function() {
  invisible(gc())
  cpu <- sum(proc.time()[c("user.self", "sys.self")])
  started <- as.numeric(Sys.time())
  fit <- suppressWarnings(suppressMessages(lmer(formula, data)))
  seconds <- as.numeric(Sys.time()) - started
  list(fit = fit, seconds = seconds, cpu = sum(proc.time()[c("user.self", "sys.self")]) - cpu)
}

invisible(gc())
cat("5", file = "/proc/self/clear_refs")  # the peak counts from here, so that reading the data is not in it
say(event = "ready", memory_before = memory_mb("VmRSS"))
first <- run()
say(event = "call", seconds = first$seconds, cpu_seconds = first$cpu, memory_peak = memory_mb("VmHWM"))
fit <- first$fit
say(event = "result", criterion = as.numeric(REMLcrit(fit)), n_theta = length(getME(fit, "theta")),
    evaluations = fit@optinfo$feval, converged = length(fit@optinfo$conv$lme4$code) == 0,
    singular = isSingular(fit), message = paste(unlist(fit@optinfo$conv$lme4$messages), collapse = "; "))
rm(fit)
if (first$seconds <= request$long_call) {
  times <- numeric(0)
  while (length(times) < request$enough_calls || sum(times) < request$enough_seconds) {
    times <- c(times, run()$seconds)
    say(event = "call", seconds = times[length(times)])
  }
}
