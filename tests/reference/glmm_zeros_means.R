# Means with standard errors of zero-inflated and hurdle models by glmmTMB, marginal ones at emmeans' grid:
#   Rscript glmm_zeros_means.R ../data > glmm_zeros_means.json
library(glmmTMB)
suppressMessages(library(emmeans))
folder <- commandArgs(TRUE)[1]
epil <- read.csv(file.path(folder, "epil.csv"))
epil$trt <- factor(epil$trt)
epil$subject <- factor(epil$subject)
epil$V4 <- factor(epil$V4)
number <- function(x) paste0("[", paste(formatC(x, digits = 12, format = "g"), collapse = ", "), "]")
# Both linear predictors at emmeans' grid, averaged there, and what they make together: the delta method by differences
marginal <- function(fit, is_hurdle) {
  L <- emmeans(fit, "trt", component = "cond")@linfct
  # one row for all where the chance does not depend on trt
  Lz <- tryCatch(emmeans(fit, "trt", component = "zi"), error = function(e) emmeans(fit, ~1, component = "zi"))@linfct
  Lz <- Lz[rep_len(seq_len(nrow(Lz)), nrow(L)), , drop = FALSE]
  k <- ncol(L)
  at <- function(b) {
    m <- exp(as.vector(L %*% b[1:k]))
    p <- plogis(as.vector(Lz %*% b[-(1:k)]))
    (1 - p) * (if (is_hurdle) m / -expm1(-m) else m)
  }
  b <- c(fixef(fit)$cond, fixef(fit)$zi)
  own <- c(which(names(fit$sdr$par.fixed) == "beta"), which(names(fit$sdr$par.fixed) == "betazi"))
  V <- fit$sdr$cov.fixed[own, own]
  J <- sapply(seq_along(b), function(j) (at(replace(b, j, b[j] + 1e-5)) - at(replace(b, j, b[j] - 1e-5))) / 2e-5)
  list(mean = at(b), se = sqrt(diag(J %*% V %*% t(J))))
}
cases <- list(
  list(name = "zip", formula = "y ~ lbase + trt + (1 | subject)", zero = "~ trt + V4", family = "poisson"),
  list(name = "zip_one_chance", formula = "y ~ lbase * trt + (1 | subject)", zero = "~ 1", family = "poisson"),
  list(name = "zip_slopes", formula = "y ~ lbase + trt + V4 + (V4 | subject)", zero = "~ trt", family = "poisson"),
  list(name = "zinb", formula = "y ~ lbase + trt + (1 | subject)", zero = "~ lage", family = "nbinom2"),
  list(name = "hurdle", formula = "y ~ lbase * trt + V4 + (1 | subject)", zero = "~ lbase + trt", family = "truncated_poisson")
)
rows <- c(1, 2, 50, 51, 117, 160, 230)
out <- sapply(cases, function(case) {
  family <- if (case$family == "poisson") poisson() else match.fun(case$family)()
  control <- glmmTMBControl(optCtrl = list(iter.max = 1e4, eval.max = 1e4, rel.tol = 1e-14))
  fit <- suppressWarnings(eval(bquote(glmmTMB(.(as.formula(case$formula)), epil, family = family,
    ziformula = .(as.formula(case$zero)), control = control))))
  own <- predict(fit, type = "response", se.fit = TRUE)
  # with new data and no effects of subjects
  none <- predict(fit, newdata = epil[rows, ], type = "response", se.fit = TRUE, re.form = NA)
  means <- marginal(fit, case$family == "truncated_poisson")
  sprintf('  {"name": "%s", "formula": "%s", "zero_inflation": "%s", "family": "%s", "deviance": %.12g, "rows": %s,\n   "conditional": %s,\n   "conditional_se": %s,\n   "population": %s,\n   "population_se": %s,\n   "emmean": %s,\n   "emmean_se": %s}',
    case$name, case$formula, case$zero, case$family, -2 * as.numeric(logLik(fit)), number(rows - 1),
    number(own$fit[rows]), number(own$se.fit[rows]), number(none$fit), number(none$se.fit), number(means$mean), number(means$se))
})
cat("[\n", paste(out, collapse = ",\n"), "\n]\n", sep = "")
