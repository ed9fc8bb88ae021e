# Variances of R-squared (Nakagawa, Johnson and Schielzeth 2017): fixed and random parts by insight, and its residual for links of
# the binomial. Its residual for logarithms, in this version, leaves half the variance out of the mean of the null model; the paper's
# (equations 5.8 and table 2) is formed here of glmmTMB's null model.
# Run in this folder: Rscript glmm_sizes.R > glmm_sizes.json
suppressMessages({library(glmmTMB); library(insight); library(jsonlite)})
read <- function(name, factors) {
  frame <- read.csv(file.path("..", "data", paste0(name, ".csv")), stringsAsFactors = FALSE)
  for (f in factors) frame[[f]] <- factor(frame[[f]])
  frame
}
used <- read("Contraception", c("district", "urban"))
used$used <- as.integer(used$use == "Y")
epil <- read("epil", c("subject", "trt"))
ticks <- read("grouseticks", c("BROOD", "YEAR"))
r2 <- function(m) { v <- suppressWarnings(insight::get_variance(m)); list(fixed = v$var.fixed[[1]], random = v$var.random[[1]], residual = v$var.residual[[1]]) }
of_log <- function(m, null, extra = 0) {
  mean <- exp(fixef(null)$cond[[1]] + 0.5 * VarCorr(null)$cond[[1]][1, 1])
  within <- r2(m)
  list(fixed = within$fixed, random = within$random, residual = log(1 + 1 / mean + extra))
}
p <- glmmTMB(y ~ trt + lbase + (1 | subject), epil, family = poisson)
n <- glmmTMB(TICKS ~ YEAR + (1 | BROOD), ticks, family = nbinom2)
cat(toJSON(list(
  versions = list(insight = as.character(packageVersion("insight")), glmmTMB = as.character(packageVersion("glmmTMB"))),
  used = r2(glmmTMB(used ~ age + urban + (1 | district), used, family = binomial)),
  used_probit = r2(glmmTMB(used ~ age + urban + (1 | district), used, family = binomial("probit"))),
  epil = of_log(p, glmmTMB(y ~ 1 + (1 | subject), epil, family = poisson)),
  ticks = of_log(n, glmmTMB(TICKS ~ 1 + (1 | BROOD), ticks, family = nbinom2), 1 / sigma(n))
), digits = 12, auto_unbox = TRUE, pretty = TRUE))
