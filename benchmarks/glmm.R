# Calls of lme4's glmer on one problem: path of the data (.csv, .factors), formula, family, enough calls, enough seconds,
# longest call that is repeated. Prints a line of JSON a call: seconds, CPU seconds, deviance, evaluations.
arguments <- commandArgs(trailingOnly = TRUE)
suppressPackageStartupMessages(library(lme4))
data <- read.csv(paste0(arguments[1], ".csv"))
for (name in readLines(paste0(arguments[1], ".factors"))) if (nzchar(name)) data[[name]] <- factor(data[[name]])
formula <- as.formula(arguments[2])
limits <- as.numeric(arguments[4:6])
calls <- c()
while (length(calls) <= limits[1] && sum(calls) < ifelse(length(calls) > 1, limits[2], limits[3])) {
  invisible(gc())
  before <- proc.time()
  fit <- suppressWarnings(suppressMessages(glmer(formula, data, family = arguments[3])))
  took <- proc.time() - before
  calls <- c(calls, took[["elapsed"]])
  # twice the negative log-likelihood, all constants in
  line <- c(took[["elapsed"]], took[["user.self"]] + took[["sys.self"]], -2 * as.numeric(logLik(fit)), fit@optinfo$feval)
  cat("[", paste(format(line, digits = 16, trim = TRUE), collapse = ", "), "]\n", sep = "")
  flush(stdout())
}
